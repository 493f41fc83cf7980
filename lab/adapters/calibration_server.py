"""A reference server with outages that are known in advance: `python -m lab.adapters.calibration_server`.

Reads a schedule (JSON: kind, start and end in ms of CLOCK_MONOTONIC) from stdin, prints its port, and at each end the
true times. The truth is by arrival: whatever arrives within [start, end) is refused, never answered, answered late or
answered wrongly. So a `slow` outage ends when the first request may arrive that is answered at once.
"""

import asyncio
import json
import sys
import time
from contextlib import suppress

SLOW_S = 0.4
KINDS = ("refuse", "hang", "slow", "wrong")


class Reference:
    """The server; `mode` is the kind of the outage in force, or empty."""

    def __init__(self) -> None:
        self.mode, self.port = "", 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def listen(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Close the listener and reset every connection."""
        assert self._server is not None
        self._server.close()
        self.reset()

    def reset(self) -> None:
        """Reset every connection."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0]) if "content-length" in head else 0
                body = await reader.readexactly(length)
                await self._answer(json.loads(body) if body else {}, writer)
        self._open.discard(writer)
        writer.close()

    async def _answer(self, asked: dict[str, object], writer: asyncio.StreamWriter) -> None:
        mode = self.mode
        if mode == "hang":
            await asyncio.Event().wait()
        if mode == "slow":
            await asyncio.sleep(SLOW_S)
        ids = [f"{'false' if mode == 'wrong' else 'd'}{n}" for n in range(10)]
        result: dict[str, object] = {"protocolVersion": "2025-06-18", "capabilities": {}}
        if asked.get("method") == "tools/call":
            found = [{"payload": {"document_id": one}} for one in ids]
            result = {"content": [], "structuredContent": {"results": found}}
        text = json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), "result": result}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        writer.write(head.encode() + b"Mcp-Session-Id: reference\r\n\r\n" + text)
        await writer.drain()


def _now_ms() -> float:
    return time.monotonic_ns() / 1e6


def _say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def _main() -> None:
    server = Reference()
    await server.listen()
    _say(server.port)
    schedule = json.loads(await asyncio.to_thread(sys.stdin.readline))
    for kind, start_ms, end_ms in schedule:
        await asyncio.sleep(max(0.0, start_ms - _now_ms()) / 1000)
        began, server.mode = _now_ms(), kind
        if kind == "refuse":
            server.refuse()
        await asyncio.sleep(max(0.0, end_ms - _now_ms()) / 1000)
        server.mode = ""
        if kind == "refuse":
            await server.listen()
        ended = _now_ms()
        if kind == "hang":
            server.reset()
        _say(json.dumps([kind, began, ended]))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
