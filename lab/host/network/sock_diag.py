"""TCP connections of a network namespace with their byte counts, as the kernel reports them.

Source: sock_diag(7), linux/inet_diag.h, and `struct tcp_info` of linux/tcp.h. Nothing is changed in the namespace. The
kernel also reports each connection at its end, so that short ones are counted too.
"""

import errno
import ipaddress
import os
import socket
import struct
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

from lab.errors import FaultError
from lab.host.network import namespaces

# linux/netlink.h and linux/sock_diag.h; Python 3.11 has no names for them.
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
NLMSG_ERROR, NLMSG_DONE = 2, 3
REQUEST_DUMP = 0x301
TCP_DESTROYED, TCP6_DESTROYED = 1, 3
INET_DIAG_INFO = 2
# net/tcp_states.h
ESTABLISHED, SYN_SENT, TIME_WAIT, LISTEN = 1, 2, 6, 10
# What is in TIME_WAIT was reported at its end, and has no counts any more; a busy server has hundreds of them.
WANTED_STATES = 0xFFFFFFFF & ~(1 << TIME_WAIT | 1 << LISTEN)
RECEIVE_BYTES, ANSWER_BYTES = 8 << 20, 1 << 18
FIX = "run as root; `modprobe tcp_diag` where the kernel has it as a module"
# struct inet_diag_msg is followed by attributes, each with a length and a type.
_NLMSG, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
_DIAG_BYTES, _ADDRESS_BYTES = 72, 16
# Offsets in struct tcp_info, whose fields never move.
_UNACKED, _RETRANSMITTED, _ACKED_BYTES, _RECEIVED_BYTES, _TCP_INFO_BYTES = 24, 100, 120, 128, 136


@dataclass(frozen=True, slots=True)
class Connection:
    """One TCP connection as seen from inside the namespace; `cookie` is unique as long as the machine runs.

    `sent_bytes` are those that the other end acknowledged; the SYN counts as one of them, and so does the FIN.
    """

    cookie: int
    state: int
    inode: int
    local_port: int
    peer: str
    peer_port: int
    unanswered: int
    retransmitted: int
    sent_bytes: int
    received_bytes: int


class SocketDiagnosis:
    """Asks the kernel about the TCP sockets of one network namespace; raises FaultError where it gives no answer.

    `close` closes its sockets, which also happens when it is dropped.
    """

    def __init__(self, namespace: int) -> None:
        self._asking, self._ended = namespaces.inside(namespace, _opened)
        self.close = weakref.finalize(self, _closed, self._asking, self._ended)
        self.ends_missed = 0

    def open_connections(self) -> list[Connection]:
        """Every connection that is there now, of both address families."""
        return [*self._dump(socket.AF_INET), *self._dump(socket.AF_INET6)]

    def ended_connections(self) -> list[Connection]:
        """Every connection that ended since the last call, as it was at its end."""
        found: list[Connection] = []
        while True:
            try:
                found += connections_in(self._ended.recv(ANSWER_BYTES))
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise _unreadable(error) from error
                self.ends_missed += 1

    def _dump(self, family: int) -> Iterator[Connection]:
        wanted = struct.pack(
            "=BBBBI48x", family, socket.IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0, WANTED_STATES
        )
        size = _NLMSG.size + len(wanted)
        try:
            self._asking.send(_NLMSG.pack(size, SOCK_DIAG_BY_FAMILY, REQUEST_DUMP, 0, 0) + wanted)
            finished = False
            while not finished:
                answer = self._asking.recv(ANSWER_BYTES)
                yield from connections_in(answer)
                finished = any(kind == NLMSG_DONE for kind, _ in _messages(answer))
        except OSError as error:
            raise _unreadable(error) from error


def why_unreadable() -> str:
    """What hinders the lab from reading connections on this machine, asked in its own network; empty for nothing.

    A kernel without the module `tcp_diag` makes the sockets all the same, and refuses the question (ENOENT).
    """
    try:
        with open("/proc/self/ns/net", "rb") as own:
            diagnosis = SocketDiagnosis(own.fileno())
        try:
            diagnosis.open_connections()
        finally:
            diagnosis.close()
    except (FaultError, OSError) as error:
        return error.last_state if isinstance(error, FaultError) else str(error)
    return ""


def _closed(*sockets: socket.socket) -> None:
    for each in sockets:
        each.close()


def _opened() -> tuple[socket.socket, socket.socket]:
    asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
    ended = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
    try:
        asking.settimeout(2.0)
        # SO_RCVBUFFORCE, which ignores the machine's limit.
        ended.setsockopt(socket.SOL_SOCKET, 33, RECEIVE_BYTES)
        ended.bind((0, 1 << (TCP_DESTROYED - 1) | 1 << (TCP6_DESTROYED - 1)))
        ended.setblocking(False)
    except OSError as error:
        asking.close()
        ended.close()
        raise _unreadable(error) from error
    return asking, ended


def _unreadable(error: OSError) -> FaultError:
    return FaultError(
        "the kernel does not report the TCP connections of a network namespace",
        where="sock_diag",
        last_state=str(error),
        try_=FIX,
    )


def connections_in(answer: bytes) -> Iterator[Connection]:
    """The connections in one answer of the kernel; raises OSError for its error message. Listeners are left out."""
    for kind, body in _messages(answer):
        if kind == NLMSG_ERROR and (code := -int(struct.unpack_from("=i", body)[0])):
            raise OSError(code, os.strerror(code))
        if kind == SOCK_DIAG_BY_FAMILY and body[1] != LISTEN:
            yield _connection(body)


def _messages(answer: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _NLMSG.size <= len(answer):
        size, kind, *_ = _NLMSG.unpack_from(answer, place)
        if size < _NLMSG.size:
            return
        yield kind, answer[place + _NLMSG.size : place + size]
        place += (size + 3) & ~3


def _connection(body: bytes) -> Connection:
    family, state = body[0], body[1]
    local_port, peer_port = struct.unpack_from("!HH", body, 4)
    peer = body[8 + _ADDRESS_BYTES : 8 + 2 * _ADDRESS_BYTES]
    info = _tcp_info(body)
    return Connection(
        cookie=struct.unpack_from("=Q", body, 44)[0],
        state=state,
        inode=struct.unpack_from("=I", body, 68)[0],
        local_port=local_port,
        peer=plain(peer[:4] if family == socket.AF_INET else peer),
        peer_port=peer_port,
        unanswered=struct.unpack_from("=I", info, _UNACKED)[0],
        retransmitted=struct.unpack_from("=I", info, _RETRANSMITTED)[0],
        sent_bytes=struct.unpack_from("=Q", info, _ACKED_BYTES)[0],
        received_bytes=struct.unpack_from("=Q", info, _RECEIVED_BYTES)[0],
    )


def _tcp_info(body: bytes) -> bytes:
    """The `struct tcp_info` among the attributes; zeros where there is none."""
    place = _DIAG_BYTES
    while place + _ATTRIBUTE.size <= len(body):
        size, kind = _ATTRIBUTE.unpack_from(body, place)
        if size < _ATTRIBUTE.size:
            break
        if kind == INET_DIAG_INFO:
            return body[place + _ATTRIBUTE.size : place + size].ljust(_TCP_INFO_BYTES, b"\0")
        place += (size + 3) & ~3
    return bytes(_TCP_INFO_BYTES)


def plain(packed: bytes) -> str:
    """An address as text; an IPv4 address that an IPv6 socket uses is shown as the IPv4 address that it is."""
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
