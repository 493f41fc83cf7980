"""Name servers of the lab's, on sockets that somebody else has bound: one that knows no name, and one that is slow."""

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
TCP_PATIENCE_S = 1.0


def denial(question: bytes) -> bytes:
    """The answer to one question: its own header and question section, and "no such name". Source: RFC 1035."""
    if len(question) < HEADER_BYTES:
        return b""
    mark, flags, asked = struct.unpack("!HHH", question[:6])
    said = RESPONSE | RECURSION_AVAILABLE | (flags & OPCODE_AND_RD) | NXDOMAIN
    return struct.pack("!HHHHHH", mark, said, min(asked, 1), 0, 0, 0) + _section(question)


def _section(question: bytes) -> bytes:
    """The first question alone, without what may follow it (EDNS)."""
    at = HEADER_BYTES
    while at < len(question) and question[at]:
        at += question[at] + 1
    return question[HEADER_BYTES : at + 5]


def deny(udp: str, tcp: str, seconds: str) -> None:
    """Serve on two inherited sockets for so long."""
    datagrams, listener = socket.socket(fileno=int(udp)), socket.socket(fileno=int(tcp))
    end = time.monotonic() + float(seconds)
    while (left_s := end - time.monotonic()) > 0:
        ready, _, _ = select.select([datagrams, listener], [], [], left_s)
        if datagrams in ready:
            with suppress(OSError):
                question, asker = datagrams.recvfrom(4096)
                datagrams.sendto(denial(question), asker)
        if listener in ready:
            with suppress(OSError):
                _answer(listener.accept()[0])


def _answer(connection: socket.socket) -> None:
    with connection:
        _send(connection, denial(_received(connection)))


def _received(connection: socket.socket) -> bytes:
    """The one question on a TCP connection."""
    connection.settimeout(TCP_PATIENCE_S)
    size = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))[0]
    return connection.recv(size, socket.MSG_WAITALL)


def _send(connection: socket.socket, answer: bytes) -> None:
    connection.sendall(struct.pack("!H", len(answer)) + answer)


Reply = Callable[[bytes], object]


@dataclass(slots=True)
class _SlowServer:
    """Passes each question on to a resolver after a delay, under a number of its own, and passes its answer back."""

    datagrams: socket.socket
    listener: socket.socket
    resolver: socket.socket
    delay_s: float
    waiting: deque[tuple[float, bytes, Reply]] = field(default_factory=deque)
    asked: dict[int, tuple[bytes, Reply]] = field(default_factory=dict)
    number: int = 0

    def serve(self, until: float) -> None:
        while (now := time.monotonic()) < until:
            due = self.waiting[0][0] if self.waiting else until
            sockets = [self.datagrams, self.listener, self.resolver]
            ready, _, _ = select.select(sockets, [], [], max(0.0, min(due, until) - now))
            for one, act in zip(
                sockets, (self._take_datagram, self._take_connection, self._pass_back), strict=True
            ):
                if one in ready:
                    # A malformed question, an asker that has gone, a resolver that refuses: none ends the server.
                    with suppress(OSError, struct.error):
                        act()
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
        self.asked[self.number] = (question[:2], reply)
        self.resolver.send(struct.pack("!H", self.number) + question[2:])

    def _pass_back(self) -> None:
        answer = self.resolver.recv(4096)
        mark, reply = self.asked.pop(struct.unpack("!H", answer[:2])[0], (b"", None))
        if reply is not None:
            reply(mark + answer[2:])


def delay(udp: str, tcp: str, asking: str, delay_s: str, seconds: str) -> None:
    """Serve on two inherited sockets for so long; a third is connected to the resolver that knows the answers."""
    datagrams, listener, resolver = (socket.socket(fileno=int(handle)) for handle in (udp, tcp, asking))
    _SlowServer(datagrams, listener, resolver, float(delay_s)).serve(time.monotonic() + float(seconds))
