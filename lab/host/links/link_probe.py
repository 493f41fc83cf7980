"""Exchanges on raw sockets, which show what happens to a connection, byte by byte and until its end."""

import math
import select
import socket
import time
from dataclasses import dataclass, field

from lab.ports.proxies import CONNECT_TIMEOUT_S, ConnectionEnd, Exchange, ExchangeResult

# The smallest HTTP answer, headers included; the wanted size divided by this is the number of requests.
ANSWER_BYTES = 100
# Servers accept larger headers in one request (uvicorn 64 KiB, actix 128 KiB).
PADDING_MAX = 8192
CHUNK = 65536


@dataclass(slots=True)
class _Progress:
    """One exchange that is in progress; times are ms since the connect succeeded."""

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

    def result(self, end: ConnectionEnd) -> ExchangeResult:
        ended = math.inf if end == "silent" else self.now_ms()
        last = max(0.0 if math.isinf(self.last_ms) else self.last_ms, self.half_closed_ms)
        received = len(self.answers)
        return ExchangeResult(
            end, self.sent, received, self.first_ms, self.last_ms, ended - last, ended, tuple(self.pieces)
        )


def payload(what: Exchange, path: str) -> tuple[bytes, int]:
    """The pipelined requests of an exchange, and their number."""
    count = max(1, math.ceil(what.answer_bytes / ANSWER_BYTES), math.ceil(what.request_bytes / PADDING_MAX))
    padding = "x" * math.ceil(what.request_bytes / count)
    pad = f"X-Lab-Padding: {padding}\r\n" if padding else ""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{pad}"
    last = "\r\n" if what.half_close else "Connection: close\r\n\r\n"
    return f"{request}\r\n".encode() * (count - 1) + f"{request}{last}".encode(), count


def complete(answers: bytes | bytearray, wanted: int) -> bool:
    """True if `wanted` complete HTTP answers have arrived; only the length of the last one is checked."""
    if answers.count(b"HTTP/1.1 ") < wanted:
        return False
    head, separator, body = answers[answers.rfind(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    for line in bytes(head).lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return bool(separator) and body.endswith(b"0\r\n\r\n")


def converse(sock: socket.socket, address: tuple[str, int], path: str, what: Exchange) -> ExchangeResult:
    """Make one exchange on a new socket, which is closed at the end; it never lasts longer than its timeout."""
    with sock:
        sock.settimeout(min(CONNECT_TIMEOUT_S, what.timeout_s))
        try:
            sock.connect(address)
        except ConnectionRefusedError:
            return ExchangeResult("refused")
        except ConnectionResetError:
            return ExchangeResult("reset")
        except (
            OSError
        ):  # a timeout, or no route: `sent` is 0, which tells it from a connection that went silent
            return ExchangeResult("silent")
        sock.setblocking(False)
        requests, count = payload(what, path)
        progress = _Progress(count, requests, time.perf_counter())
        return _until_end(sock, progress, what)


def _until_end(sock: socket.socket, progress: _Progress, what: Exchange) -> ExchangeResult:
    poll = select.poll()
    try:
        while (left_ms := what.timeout_s * 1000 - progress.now_ms()) > 0:
            poll.register(sock, select.POLLIN | (select.POLLOUT if progress.left else 0))
            if poll.poll(left_ms) and _step(sock, progress, what):
                done = complete(progress.answers, progress.wanted)
                return progress.result("answered" if done else "closed")
    except ConnectionResetError:
        return progress.result("reset")
    except ConnectionError:  # data was sent after an orderly close
        return progress.result("closed")
    except OSError:  # the kernel gave up on the connection (ETIMEDOUT, no route): no answer came
        return progress.result("silent")
    return progress.result("silent")


def _step(sock: socket.socket, progress: _Progress, what: Exchange) -> bool:
    """Send and receive what is possible now; True if the connection has ended."""
    if progress.left:
        try:
            count = sock.send(progress.left[:CHUNK])
            progress.sent, progress.left = progress.sent + count, progress.left[count:]
        except BlockingIOError:
            pass
    try:
        data = sock.recv(CHUNK)
    except BlockingIOError:
        return False
    if not data:
        return True
    progress.last_ms = progress.now_ms()
    progress.first_ms = min(progress.first_ms, progress.last_ms)
    progress.answers += data
    progress.pieces.append(len(data))
    if what.half_close and not progress.half_closed_ms and complete(progress.answers, progress.wanted):
        sock.shutdown(socket.SHUT_WR)
        progress.half_closed_ms = progress.now_ms()
    return False
