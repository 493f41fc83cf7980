"""A transport for httpx over plain HTTP/1.1, on asyncio's own streams.

The transport that comes with httpx takes about 2.5 ms of CPU time for a request on a slow machine, this one 0.5 ms. The
lab asks on loopback addresses, without TLS, all through a run, and its own cost must stay small.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import httpx

T = TypeVar("T")
_PIECE_BYTES = 64 * 1024
_WITHOUT_BODY = (204, 304)
Address = tuple[str, int]


class _Connection:
    """One TCP connection. An exchange on it that does not come to its end closes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def is_usable(self) -> bool:
        """Whether the server has neither closed it nor sent what nobody asked for."""
        return not (self.writer.is_closing() or self.reader.at_eof())

    def close(self) -> None:
        self.writer.transport.abort()


class PlainTransport(httpx.AsyncBaseTransport):
    """Keeps connections open for the next request. Use it inside one event loop; it raises httpx's own errors.

    Of httpx's timeouts `connect` and `read` count. A cancelled request closes its connection before it returns.
    """

    def __init__(self) -> None:
        self._idle: dict[Address, list[_Connection]] = defaultdict(list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the head of its answer; the body is read by whoever wants it."""
        timeouts = request.extensions.get("timeout", {})
        address = (request.url.host, request.url.port or 80)
        body = b"".join([part async for part in request.stream])  # type: ignore[union-attr]
        connection = self._idle_connection(address) or await _connect(address, timeouts.get("connect"))
        answered = False
        try:
            connection.writer.write(_head_of(request) + body)
            head = await _in_time(_read_head(connection.reader), timeouts.get("read"))
            status, headers, keeps = _parse_head(head)
            stream = _Body(
                self, address, connection, _pieces(connection.reader, status, headers), keeps, timeouts
            )
            answered = True
        finally:
            if not answered:
                connection.close()
        return httpx.Response(status, headers=headers, stream=stream)

    def give_back(self, address: Address, connection: _Connection) -> None:
        """Keep a connection for the next request."""
        self._idle[address].append(connection)

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        for connections in self._idle.values():
            while connections:
                connections.pop().close()

    def _idle_connection(self, address: Address) -> _Connection | None:
        while self._idle[address]:
            connection = self._idle[address].pop()
            if connection.is_usable():
                return connection
            connection.close()
        return None


class _Body(httpx.AsyncByteStream):
    """The body of one answer; its connection is kept if the body was read to its end, and closed otherwise."""

    def __init__(
        self,
        transport: PlainTransport,
        address: Address,
        connection: _Connection,
        pieces: AsyncIterator[bytes],
        keeps: bool,
        timeouts: dict[str, float | None],
    ) -> None:
        self._transport, self._address, self._connection = transport, address, connection
        self._pieces, self._keeps, self._timeout_s = pieces, keeps, timeouts.get("read")
        self._ended = self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (piece := await _in_time(anext(self._pieces, b""), self._timeout_s)) != b"":
                yield piece
            self._ended = True
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._ended and self._keeps:
            self._transport.give_back(self._address, self._connection)
        else:
            self._connection.close()


async def _connect(address: Address, timeout_s: float | None) -> _Connection:
    try:
        async with asyncio.timeout(timeout_s):
            return _Connection(*await asyncio.open_connection(*address))
    except TimeoutError:
        raise httpx.ConnectTimeout(f"no connection within {timeout_s:g} s") from None
    except OSError as error:
        raise httpx.ConnectError(str(error)) from error


async def _in_time(work: Awaitable[T], timeout_s: float | None) -> T:
    """The result of reading from a connection; raises httpx's errors in place of those of streams."""
    try:
        async with asyncio.timeout(timeout_s):
            return await work
    except TimeoutError:
        raise httpx.ReadTimeout(f"nothing arrived within {timeout_s:g} s") from None
    except asyncio.IncompleteReadError as error:
        part = "" if not error.partial else " in the middle of an answer"
        raise httpx.RemoteProtocolError(f"the server closed the connection{part}") from error
    except OSError as error:
        raise httpx.ReadError(str(error)) from error
    except (ValueError, asyncio.LimitOverrunError) as error:
        raise httpx.RemoteProtocolError(f"not an HTTP answer: {error}") from error


def _head_of(request: httpx.Request) -> bytes:
    lines = [b"%s %s HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
    lines += [b"%s: %s" % header for header in request.headers.raw]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """The head of the final answer; interim answers (1xx) are passed over."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.split(b" ", 2)[1:2] or not head.split(b" ", 2)[1].startswith(b"1"):
            return head


def _parse_head(head: bytes) -> tuple[int, list[tuple[bytes, bytes]], bool]:
    """Status, headers, and whether the connection may be kept."""
    first, *lines = head[:-4].split(b"\r\n")
    version, _, rest = first.partition(b" ")
    if not version.startswith(b"HTTP/1."):
        raise httpx.RemoteProtocolError(f"not an HTTP answer: {first[:60]!r}")
    try:
        status = int(rest[:3])
    except ValueError as error:
        raise httpx.RemoteProtocolError(f"not an HTTP answer: {first[:60]!r}") from error
    pairs = (line.partition(b":") for line in lines)
    headers = [(name.strip(), value.strip()) for name, _, value in pairs]
    fields = {name.lower() for name, _ in headers}
    bounded = status in _WITHOUT_BODY or fields & {b"content-length", b"transfer-encoding"}
    closing = not bounded or any(
        name.lower() == b"connection" and value.lower() == b"close" for name, value in headers
    )
    return status, headers, version == b"HTTP/1.1" and not closing


def _pieces(
    reader: asyncio.StreamReader, status: int, headers: list[tuple[bytes, bytes]]
) -> AsyncIterator[bytes]:
    """The body as it arrives: in chunks, or of a known length, or until the server closes the connection."""
    fields = {name.lower(): value for name, value in headers}
    if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
        return _chunks(reader)
    if status in _WITHOUT_BODY:
        return _sized(reader, 0)
    length = fields.get(b"content-length")
    if length is None:
        return _until_closed(reader)
    if not length.isdigit():
        raise httpx.RemoteProtocolError(f"not a length: {length[:60]!r}")
    return _sized(reader, int(length))


async def _sized(reader: asyncio.StreamReader, left: int) -> AsyncIterator[bytes]:
    while left > 0:
        piece = await reader.read(min(left, _PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(b"?", left)
        left -= len(piece)
        yield piece


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        async for piece in _sized(reader, size):
            yield piece
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass


async def _until_closed(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(_PIECE_BYTES):
        yield piece
