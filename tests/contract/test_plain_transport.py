"""The lab's own HTTP transport against servers that answer in the ways that HTTP/1.1 allows, and in some others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import httpx
import pytest

from lab.observe.plain_transport import PlainTransport

T = TypeVar("T")
OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"


class Scripted:
    """A server that answers each request with the next of some bytes, given piece by piece.

    An answer `None` is never given. `connections` were made, `open` are still open, `requests` are what came.
    """

    def __init__(self, answers: Sequence[bytes | None], *, piece: int = 1000, closes: bool = False) -> None:
        self._answers, self._piece, self._closes = list(answers), piece, closes
        self.connections, self.open, self.requests = 0, 0, list[bytes]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections, self.open = self.connections + 1, self.open + 1
        try:
            while self._answers:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                answer = self._answers.pop(0)
                if answer is None:
                    await reader.read()
                    break
                for at in range(0, len(answer), self._piece):
                    writer.write(answer[at : at + self._piece])
                    await asyncio.sleep(0)
                if self._closes:
                    break
            else:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


def with_server(server: Scripted, work: Callable[[httpx.AsyncClient, str], Awaitable[T]]) -> T:
    """What some requests to a scripted server give; no connection is left at the end."""

    async def run() -> T:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/path?q=1"
        try:
            async with httpx.AsyncClient(transport=PlainTransport(), trust_env=False, timeout=2.0) as http:
                found = await work(http, url)
            await eventually(lambda: server.open == 0)
        finally:
            listening.close()
            await listening.wait_closed()
        return found

    return asyncio.run(run())


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the server has noticed."""
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


async def get_twice(http: httpx.AsyncClient, url: str) -> list[str]:
    return [(await http.get(url)).text, (await http.get(url)).text]


@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize("answer", [SIZED, CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED])
def test_an_answer_is_read_to_its_end_and_its_connection_used_again(answer: bytes, piece: int) -> None:
    server = Scripted([answer, answer], piece=piece)
    assert with_server(server, get_twice) == ["hello", "hello"]
    assert server.connections == 1
    assert server.requests[0].startswith(b"GET /path?q=1 HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    ("answer", "closes"),
    [
        (OK + b"\r\nhello", True),
        (OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", False),
        (SIZED, True),
    ],
)
def test_a_connection_that_ends_is_not_used_again(answer: bytes, closes: bool) -> None:
    async def slowly(http: httpx.AsyncClient, url: str) -> list[str]:
        first = (await http.get(url)).text
        await asyncio.sleep(0.05)
        return [first, (await http.get(url)).text]

    server = Scripted([answer, answer], closes=closes)
    assert with_server(server, slowly) == ["hello", "hello"]
    assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200", httpx.RemoteProtocolError),
        (b"SSH-2.0-x\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 abc\r\n\r\n", httpx.RemoteProtocolError),
        (OK + b"Content-Length: many\r\n\r\n", httpx.RemoteProtocolError),
        (OK + b"Content-Length: 9\r\n\r\nhello", httpx.RemoteProtocolError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", httpx.RemoteProtocolError),
        (OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n", httpx.RemoteProtocolError),
    ],
)
def test_what_is_no_answer_is_an_error_of_httpx(answer: bytes, error: type[Exception]) -> None:
    async def refused(http: httpx.AsyncClient, url: str) -> None:
        with pytest.raises(error):
            await http.get(url)

    with_server(Scripted([answer], closes=True), refused)


def test_nobody_who_listens_is_a_connect_error() -> None:
    async def refused(http: httpx.AsyncClient, _: str) -> None:
        with pytest.raises(httpx.ConnectError):
            await http.get("http://127.0.0.1:9/")

    with_server(Scripted([]), refused)


def test_an_answer_without_a_body_is_whole() -> None:
    async def deleted(http: httpx.AsyncClient, url: str) -> list[int]:
        return [(await http.delete(url)).status_code, (await http.get(url)).status_code]

    server = Scripted([b"HTTP/1.1 204 No Content\r\n\r\n", SIZED])
    assert with_server(server, deleted) == [204, 200]
    assert server.connections == 1


@pytest.mark.parametrize("answer", [None, OK + b"Content-Length: 9\r\n\r\nhel", OK + b"\r\nhel"])
def test_a_request_that_is_given_up_has_no_connection_left(answer: bytes | None) -> None:
    server = Scripted([answer, None])

    async def given_up(http: httpx.AsyncClient, url: str) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await http.get(url)
        await eventually(lambda: server.open == 0)
        assert server.connections == 1
        with pytest.raises(httpx.ReadTimeout):
            await http.get(url, timeout=0.1)

    with_server(server, given_up)


def test_a_stream_is_read_as_it_arrives_and_closed_early() -> None:
    server = Scripted([OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n", SIZED])

    async def first_piece(http: httpx.AsyncClient, url: str) -> bytes:
        async with http.stream("GET", url) as answer:
            piece = await anext(answer.aiter_raw())
        await eventually(lambda: server.open == 0)
        return piece

    assert with_server(server, first_piece) == b"one"
