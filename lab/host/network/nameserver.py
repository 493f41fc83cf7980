"""A name server that knows no name: every question is answered NXDOMAIN, on sockets that somebody else has bound."""

import select
import socket
import struct
import time
from contextlib import suppress

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
        connection.settimeout(TCP_PATIENCE_S)
        size = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))[0]
        answer = denial(connection.recv(size, socket.MSG_WAITALL))
        connection.sendall(struct.pack("!H", len(answer)) + answer)
