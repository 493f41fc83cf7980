"""Name servers of the lab on sockets that their parent has bound: one knows no name, the other is slow."""

import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

HEADER_BYTES, NXDOMAIN = 12, 3
RESPONSE, RECURSION_AVAILABLE, OPCODE_AND_RD = 0x8000, 0x0080, 0x7900
TCP_TIMEOUT_S = 1.0


def denial(question: bytes) -> bytes:
    """The answer to one query: its own header and question section, with the code "no such name". Source: RFC 1035."""
    if len(question) < HEADER_BYTES:
        return b""
    query_id, flags, questions = struct.unpack("!HHH", question[:6])
    answer_flags = RESPONSE | RECURSION_AVAILABLE | (flags & OPCODE_AND_RD) | NXDOMAIN
    return struct.pack("!HHHHHH", query_id, answer_flags, min(questions, 1), 0, 0, 0) + _section(question)


def _section(question: bytes) -> bytes:
    """The first question of a query, without the sections that may follow (EDNS)."""
    at = HEADER_BYTES
    while at < len(question) and question[at]:
        at += question[at] + 1
    return question[HEADER_BYTES : at + 5]


def deny(udp: str, tcp: str, seconds: str) -> None:
    """Answer on two inherited sockets for `seconds`."""
    datagrams, listener = socket.socket(fileno=int(udp)), socket.socket(fileno=int(tcp))
    end = time.monotonic() + float(seconds)
    while (left_s := end - time.monotonic()) > 0:
        ready, _, _ = select.select([datagrams, listener], [], [], left_s)
        if datagrams in ready:
            with suppress(OSError):
                question, asker = datagrams.recvfrom(4096)
                datagrams.sendto(denial(question), asker)
        if listener in ready:
            with suppress(OSError, struct.error):
                _answer(listener.accept()[0])


def _answer(connection: socket.socket) -> None:
    with connection:
        _send(connection, denial(_received(connection)))


def _received(connection: socket.socket) -> bytes:
    """The query on a TCP connection."""
    connection.settimeout(TCP_TIMEOUT_S)
    size = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))[0]
    return connection.recv(size, socket.MSG_WAITALL)


def _send(connection: socket.socket, answer: bytes) -> None:
    connection.sendall(struct.pack("!H", len(answer)) + answer)


Reply = Callable[[bytes], object]


@dataclass(slots=True)
class _SlowServer:
    """Forwards each query to a resolver after a delay, with an id of its own, and sends the resolver's answer back."""

    datagrams: socket.socket
    listener: socket.socket
    resolver: socket.socket
    delay_s: float
    waiting: deque[tuple[float, bytes, Reply]] = field(default_factory=deque)
    forwarded: dict[int, tuple[bytes, Reply]] = field(default_factory=dict)
    number: int = 0

    def serve(self, until: float) -> None:
        while (now := time.monotonic()) < until:
            due = self.waiting[0][0] if self.waiting else until
            sockets = [self.datagrams, self.listener, self.resolver]
            ready, _, _ = select.select(sockets, [], [], max(0.0, min(due, until) - now))
            for source, handle in zip(
                sockets, (self._take_datagram, self._take_connection, self._pass_back), strict=True
            ):
                if source in ready:
                    # A malformed query, a client that has gone or a resolver that refuses must not end the server.
                    with suppress(OSError, struct.error):
                        handle()
            while self.waiting and self.waiting[0][0] <= time.monotonic():
                with suppress(OSError):
                    self._pass_on(*self.waiting.popleft()[1:])

    def _take_datagram(self) -> None:
        question, asker = self.datagrams.recvfrom(4096)
        self._wait(question, lambda answer: self.datagrams.sendto(answer, asker))

    def _take_connection(self) -> None:
        connection = self.listener.accept()[0]

        def reply(answer: bytes) -> None:
            with connection:
                _send(connection, answer)

        self._wait(_received(connection), reply)

    def _wait(self, question: bytes, reply: Reply) -> None:
        if len(question) >= HEADER_BYTES:
            self.waiting.append((time.monotonic() + self.delay_s, question, reply))

    def _pass_on(self, question: bytes, reply: Reply) -> None:
        self.number = (self.number + 1) & 0xFFFF
        self.forwarded[self.number] = (question[:2], reply)
        self.resolver.send(struct.pack("!H", self.number) + question[2:])

    def _pass_back(self) -> None:
        answer = self.resolver.recv(4096)
        query_id, reply = self.forwarded.pop(struct.unpack("!H", answer[:2])[0], (b"", None))
        if reply is not None:
            reply(query_id + answer[2:])


def delay(udp: str, tcp: str, asking: str, delay_s: str, seconds: str) -> None:
    """Answer late on two inherited sockets, for `seconds`; the third one is connected to the real resolver."""
    datagrams, listener, resolver = (socket.socket(fileno=int(handle)) for handle in (udp, tcp, asking))
    _SlowServer(datagrams, listener, resolver, float(delay_s)).serve(time.monotonic() + float(seconds))
