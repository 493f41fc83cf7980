"""A reference server with outages that are known in advance: `python -m lab.observe.calibration_server`.

It prints its port and reads a schedule from stdin: one line of JSON with kind, start and end of each outage in ms of
CLOCK_MONOTONIC. At the end of each outage it prints the true times. An outage is defined by the arrival of requests:
one that arrives within [start, end) is refused, never answered, answered late or answered wrongly. So a `slow` outage
ends when an arriving request is answered at once again, and the connections that hang at the end of a `hang` are cut.
The server ends when its stdin is closed.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from lab.errors import WorldError
from lab.repository import ROOT

SLOW_S = 0.4
KINDS = ("refuse", "hang", "slow", "wrong")


Outage = tuple[str, float, float]


@dataclass(frozen=True, slots=True)
class Reference:
    """A running reference server, for the process that started it."""

    url: str
    process: "subprocess.Popen[str]"

    def outages(self, schedule: Sequence[Outage]) -> Iterator[Outage]:
        """Have the outages carried out, and yield each with its true times once it is over; raises WorldError."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(schedule) + "\n")
        self.process.stdin.flush()
        for _ in schedule:
            line = self.process.stdout.readline()
            if not line:
                raise WorldError("the reference server died", where=self.url, try_="run again")
            kind, start_ms, end_ms = json.loads(line)
            yield kind, start_ms, end_ms


@contextmanager
def running(module: str = __name__, *arguments: str) -> Iterator[Reference]:
    """A reference server in its own process until the block ends; raises WorldError if it does not start."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            if not port:
                raise WorldError(
                    "the reference server did not start", where=" ".join(command), try_="run it by hand"
                )
            yield Reference(f"http://127.0.0.1:{port}/mcp", process)
        finally:
            process.kill()


class Server(Protocol):
    """A server that has outages when it is told to; `port` is known once it listens."""

    port: int

    async def listen(self) -> None: ...
    async def carry_out_outage(self, kind: str, end_ms: float) -> Outage: ...


class _Server:
    """The server itself; `mode` is the kind of the current outage, or empty."""

    def __init__(self) -> None:
        self.mode, self.port = "", 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def listen(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def carry_out_outage(self, kind: str, end_ms: float) -> Outage:
        """Begin an outage now; returns it at its end with its true times in ms of CLOCK_MONOTONIC."""
        assert self._server is not None
        began_ms, self.mode = now_ms(), kind
        if kind == "refuse":
            self._server.close()
            self.reset()
        await asyncio.sleep(max(0.0, end_ms - now_ms()) / 1000)
        self.mode = ""
        if kind == "refuse":
            await self.listen()
        ended_ms = now_ms()
        if kind == "hang":
            self.reset()
        return kind, began_ms, ended_ms

    def reset(self) -> None:
        """Reset every connection."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                asked = await read_message(reader)
                if self.mode == "hang":
                    await reader.read()
                    break
                await self._answer(asked, writer)
        self._open.discard(writer)
        writer.close()

    async def _answer(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        mode = self.mode
        if mode == "slow":
            await asyncio.sleep(SLOW_S)
        writer.write(answer_to(asked, "false" if mode == "wrong" else "d"))
        await writer.drain()


async def read_message(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The JSON-RPC message of the next request of a connection; empty for a request without a body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length:")[1].split("\r\n")[0]) if "content-length" in head else 0
    body = await reader.readexactly(length)
    return dict(json.loads(body)) if body else {}


def answer_to(asked: dict[str, Any], prefix: str) -> bytes:
    """The answer to a message; a tool call finds ten documents, whose names begin with `prefix`."""
    result: dict[str, object] = {"protocolVersion": "2025-06-18", "capabilities": {}}
    if asked.get("method") == "tools/call":
        found = [{"payload": {"document_id": f"{prefix}{number}"}} for number in range(10)]
        result = {"content": [], "structuredContent": {"results": found}}
    text = json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), "result": result}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
    return head.encode() + b"Mcp-Session-Id: reference\r\n\r\n" + text


def now_ms() -> float:
    """The time in ms of CLOCK_MONOTONIC."""
    return time.monotonic_ns() / 1e6


def _print_line(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def _end_with_parent() -> None:
    """End when the parent has ended, which closes the pipe; nothing else would end this process."""
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


async def carry_out(server: Server) -> None:
    """Print the server's port, then carry out the outages that stdin asks for, until stdin is closed."""
    await server.listen()
    _print_line(server.port)
    schedule = json.loads(await asyncio.to_thread(sys.stdin.readline) or "[]")
    watch = asyncio.create_task(_end_with_parent())
    for kind, start_ms, end_ms in schedule:
        await asyncio.sleep(max(0.0, start_ms - now_ms()) / 1000)
        _print_line(json.dumps(await server.carry_out_outage(kind, end_ms)))
    await watch


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(carry_out(_Server()))
