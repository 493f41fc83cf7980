"""Measurements from inside a network namespace: connects, echo requests, names. Time and number are bounded."""

import errno
import fcntl
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count as counting

from lab.errors import FaultError
from lab.host.network import namespaces
from lab.ports.netns import ConnectOutcome, Echoes, NameAnswer

# linux/sockios.h; the address follows 16 bytes of name, 2 bytes of family and 2 bytes of port.
SIOCGIFADDR = 0x8915
HEADERS_BYTES = 28
ECHO_REQUEST, ECHO_REPLY, IP_HEADER_BYTES, ICMP_HEADER_BYTES = 8, 0, 20, 8
RECEIVE_BYTES = 4 << 20
RESOLVER = ("127.0.0.11", 53)
NXDOMAIN, DNS_HEADER_BYTES = 3, 12
_marks = counting(os.getpid())


def address_of(namespace: int, device: str) -> str:
    """The IPv4 address of a device inside a namespace; raises FaultError if it has none."""
    with namespaces.sockets(namespace, 1, socket.SOCK_DGRAM)[0] as client:
        try:
            answer = fcntl.ioctl(client, SIOCGIFADDR, struct.pack("256s", device.encode()[:15]))
        except OSError as error:
            raise FaultError(
                f"{device} has no IPv4 address",
                where=f"namespace {os.fstat(namespace).st_ino}",
                last_state=str(error),
                try_="`lab status`, then `lab up`",
            ) from error
    return socket.inet_ntoa(answer[20:24])


def connects(
    namespace: int, address: tuple[str, int], tries: int, timeout_s: float
) -> Sequence[ConnectOutcome]:
    """Make `tries` connects at the same time from inside a namespace; each connection is closed at the end."""
    ends: dict[int, ConnectOutcome] = {}
    poll = select.poll()
    made = namespaces.sockets(namespace, tries, socket.SOCK_STREAM)
    try:
        for client in made:
            client.setblocking(False)
            code = client.connect_ex(address)
            if code in (0, errno.EINPROGRESS):
                poll.register(client.fileno(), select.POLLOUT)
            else:
                ends[client.fileno()] = "refused" if code == errno.ECONNREFUSED else "silent"
        give_up = time.monotonic() + timeout_s
        while len(ends) < tries and (left_s := give_up - time.monotonic()) > 0:
            for number, _ in poll.poll(left_s * 1000):
                poll.unregister(number)
                ends[number] = _end(next(client for client in made if client.fileno() == number))
        return [ends.get(client.fileno(), "silent") for client in made]
    finally:
        for client in made:
            client.close()


def _end(client: socket.socket) -> ConnectOutcome:
    code = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code == 0:
        return "connected"
    return "refused" if code in (errno.ECONNREFUSED, errno.ECONNRESET) else "silent"


def echo(namespace: int, address: str, count: int, size_bytes: int, per_s: float, timeout_s: float) -> Echoes:
    """Send ICMP echo requests at an even rate; the peer's kernel answers them, whatever its processes do.

    It waits for answers until all have arrived, or until `timeout_s` after the last request. Source: RFC 792.
    """
    mark, padding = next(_marks) & 0xFFFF, b"\xa5" * (size_bytes - HEADERS_BYTES)
    sent: dict[int, float] = {}
    arrivals: dict[int, float] = {}
    with namespaces.sockets(namespace, 1, socket.SOCK_RAW, socket.IPPROTO_ICMP)[0] as client:
        for option in (socket.SO_RCVBUF, 33):  # SO_RCVBUFFORCE, which ignores the machine's limit
            with suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BYTES)
        client.setblocking(False)
        began = time.monotonic()
        for number in range(count):
            while (early_s := began + number / per_s - time.monotonic()) > 0:
                _receive(client, mark, arrivals, began, early_s)
            sent[number] = (time.monotonic() - began) * 1000
            with suppress(OSError):
                client.sendto(_packet(mark, number, padding), (address, 0))
            _receive(client, mark, arrivals, began, 0.0)
        give_up = time.monotonic() + timeout_s
        while len(arrivals) < count and (left_s := give_up - time.monotonic()) > 0:
            _receive(client, mark, arrivals, began, left_s)
    in_order = sorted(arrivals.items(), key=lambda arrival: arrival[1])
    trips = tuple(at_ms - sent[number] for number, at_ms in in_order)
    return Echoes(count, size_bytes, tuple(at_ms for _, at_ms in in_order), trips)


def _receive(
    client: socket.socket, mark: int, arrivals: dict[int, float], began: float, wait_s: float
) -> None:
    if not select.select([client], [], [], wait_s)[0]:
        return
    # An error that is pending at the socket (no route, for example) is no answer; the next call may get one.
    with suppress(OSError):
        while True:
            packet = client.recv(65536)[IP_HEADER_BYTES:]
            at_ms = (time.monotonic() - began) * 1000
            if len(packet) < ICMP_HEADER_BYTES:
                continue
            kind, _, _, ours, number = struct.unpack("!BBHHH", packet[:8])
            if (kind, ours) == (ECHO_REPLY, mark):
                arrivals.setdefault(number, at_ms)


def _packet(mark: int, number: int, padding: bytes) -> bytes:
    bare = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, mark, number) + padding
    return bare[:2] + struct.pack("!H", _checksum(bare)) + bare[4:]


def _checksum(data: bytes) -> int:
    """The internet checksum. Source: RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def resolve(namespace: int, name: str, timeout_s: float) -> NameAnswer:
    """Ask the container's resolver once for the address of a name. Source: RFC 1035."""
    mark = next(_marks) & 0xFFFF
    labels = b"".join(bytes([len(part)]) + part.encode("ascii") for part in name.split("."))
    question = struct.pack("!HHHHHH", mark, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
    with namespaces.sockets(namespace, 1, socket.SOCK_DGRAM)[0] as client:
        client.settimeout(timeout_s)
        try:
            client.connect(RESOLVER)
            client.send(question)
            answer = client.recv(4096)
        except TimeoutError:
            return "silent"
        except OSError:
            return "failed"
    if len(answer) < DNS_HEADER_BYTES:
        return "failed"
    found, flags, _, answers = struct.unpack("!HHHH", answer[:8])
    if found != mark or (code := flags & 0xF) not in (0, NXDOMAIN):
        return "failed"
    if code == NXDOMAIN:
        return "no_such_name"
    return "address" if answers else "failed"
