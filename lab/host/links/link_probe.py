"""Exchanges on raw sockets: what a client of a proxy sees of its connection, byte by byte and to the very end."""

import math
import select
import socket
import time
from dataclasses import dataclass, field

from lab.ports.proxies import CONNECT_TIMEOUT_S, ConnectionEnd, Exchange, ExchangeResult

# The least that any HTTP server answers with its headers; what is asked for is divided by this.
ANSWER_BYTES = 100
# Headers stay well below what the servers accept in one request (uvicorn 64 KiB, actix 128 KiB).
PADDING_MAX = 8192
CHUNK = 65536


@dataclass(slots=True)
class _Talk:
    """One exchange under way; times in ms since the connection stood."""

    wanted: int
    left: bytes
    began: float
    sent: int = 0
    answers: bytearray = field(default_factory=bytearray)
    pieces: list[int] = field(default_factory=list)
    first_ms: float = math.inf
    last_ms: float = math.inf
    half_closed_ms: float = 0.0

    def now_ms(self) -> float:
        return (time.perf_counter() - self.began) * 1000

    def seen(self, end: ConnectionEnd) -> ExchangeResult:
        ended = math.inf if end == "silent" else self.now_ms()
        last = max(0.0 if math.isinf(self.last_ms) else self.last_ms, self.half_closed_ms)
        received = len(self.answers)
        return ExchangeResult(
            end, self.sent, received, self.first_ms, self.last_ms, ended - last, ended, tuple(self.pieces)
        )


def payload(what: Exchange, path: str) -> tuple[bytes, int]:
    """The pipelined requests of an exchange, and how many they are."""
    count = max(1, math.ceil(what.answer_bytes / ANSWER_BYTES), math.ceil(what.request_bytes / PADDING_MAX))
    padding = "x" * math.ceil(what.request_bytes / count)
    pad = f"X-Lab-Padding: {padding}\r\n" if padding else ""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{pad}"
    last = "\r\n" if what.half_close else "Connection: close\r\n\r\n"
    return f"{request}\r\n".encode() * (count - 1) + f"{request}{last}".encode(), count


def complete(answers: bytes | bytearray, wanted: int) -> bool:
    """Whether so many whole HTTP answers are there; only the last one's length is looked at."""
    if answers.count(b"HTTP/1.1 ") < wanted:
        return False
    head, separator, body = answers[answers.rfind(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    for line in bytes(head).lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return bool(separator) and body.endswith(b"0\r\n\r\n")


def converse(sock: socket.socket, address: tuple[str, int], path: str, what: Exchange) -> ExchangeResult:
    """Carry out one exchange on a fresh socket, which is closed afterwards; never longer than the patience."""
    with sock:
        sock.settimeout(min(CONNECT_TIMEOUT_S, what.timeout_s))
        try:
            sock.connect(address)
        except ConnectionRefusedError:
            return ExchangeResult("refused")
        except ConnectionResetError:
            return ExchangeResult("reset")
        except OSError:  # a time-out, or no way there: nothing was sent, and that tells it from a black hole
            return ExchangeResult("silent")
        sock.setblocking(False)
        requests, count = payload(what, path)
        talk = _Talk(count, requests, time.perf_counter())
        return _until_end(sock, talk, what)


def _until_end(sock: socket.socket, talk: _Talk, what: Exchange) -> ExchangeResult:
    poll = select.poll()
    try:
        while (left_ms := what.timeout_s * 1000 - talk.now_ms()) > 0:
            poll.register(sock, select.POLLIN | (select.POLLOUT if talk.left else 0))
            if poll.poll(left_ms) and _step(sock, talk, what):
                done = complete(talk.answers, talk.wanted)
                return talk.seen("answered" if done else "closed")
    except ConnectionResetError:
        return talk.seen("reset")
    except ConnectionError:  # written to after an orderly close
        return talk.seen("closed")
    except OSError:  # the kernel gave up on the connection (ETIMEDOUT, no route): no answer came
        return talk.seen("silent")
    return talk.seen("silent")


def _step(sock: socket.socket, talk: _Talk, what: Exchange) -> bool:
    """Send and receive what is possible now; True at the end of the connection."""
    if talk.left:
        try:
            count = sock.send(talk.left[:CHUNK])
            talk.sent, talk.left = talk.sent + count, talk.left[count:]
        except BlockingIOError:
            pass
    try:
        data = sock.recv(CHUNK)
    except BlockingIOError:
        return False
    if not data:
        return True
    talk.last_ms = talk.now_ms()
    talk.first_ms = min(talk.first_ms, talk.last_ms)
    talk.answers += data
    talk.pieces.append(len(data))
    if what.half_close and not talk.half_closed_ms and complete(talk.answers, talk.wanted):
        sock.shutdown(socket.SHUT_WR)
        talk.half_closed_ms = talk.now_ms()
    return False
