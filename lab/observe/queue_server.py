"""A reference server that answers one call at a time: `python -m lab.observe.queue_server CALLS`.

Each tool call takes it `COST_MS`, in order of arrival. It sleeps in that time, so it takes no CPU. Calls that arrive
while it is busy wait, and so do those that arrive during an outage. They are worked off afterwards, also those whose
caller has given up. During a `hang` the server stands still: a call in work is continued at the end. During a
`partition` what the server needs for an answer is away: a call in work begins anew at the end.

It prints its port, reads its outages and prints their true times as `lab.observe.calibration_server` does. For each
tool call it appends a line of JSON to the file CALLS: the query, when it arrived, when it was done, and when it was
answered, in ms of CLOCK_MONOTONIC. The two last differ by what the machine held the server up. The calls after it are
not held up by that, so what was done when follows from the arrivals alone.
"""

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from lab.observe.calibration_server import Outage, answer_to, carry_out, now_ms, read_message

COST_MS = 45.0
HANG, PARTITION = KINDS = ("hang", "partition")


class _Waiting(NamedTuple):
    """A message that waits for its turn; `over` is set when it may be answered."""

    asked: dict[str, Any]
    arrived_ms: float
    over: asyncio.Event


class _Server:
    """The server; `_kind` is the kind of the last outage, and `_running` is set while there is none."""

    def __init__(self, calls: TextIO) -> None:
        self.port = 0
        self._calls = calls
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._kind, self._began_ms, self._ended_ms = "", 0.0, 0.0
        self._stopped, self._running = asyncio.Event(), asyncio.Event()
        self._running.set()

    async def listen(self) -> None:
        """Accept connections, and work off what they ask."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._worker = asyncio.create_task(self._work())

    async def carry_out_outage(self, kind: str, end_ms: float) -> Outage:
        """Begin an outage now; returns it at its end with its true times in ms of CLOCK_MONOTONIC."""
        self._kind, self._began_ms = kind, now_ms()
        self._running.clear()
        self._stopped.set()
        await asyncio.sleep(max(0.0, end_ms - now_ms()) / 1000)
        self._ended_ms = now_ms()
        self._stopped.clear()
        self._running.set()
        return kind, self._began_ms, self._ended_ms

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                waiting = _Waiting(await read_message(reader), now_ms(), asyncio.Event())
                self._queue.put_nowait(waiting)
                await waiting.over.wait()
                writer.write(answer_to(waiting.asked, "d"))
                await writer.drain()
        writer.close()

    async def _work(self) -> None:
        free_ms = 0.0
        while True:
            asked, arrived_ms, over = await self._queue.get()
            is_call = asked.get("method") == "tools/call"
            free_ms = await self._worked_off_ms(max(arrived_ms, free_ms), COST_MS if is_call else 0.0)
            over.set()
            if is_call:
                query = asked["params"]["arguments"]["query"]
                self._calls.write(json.dumps([query, arrived_ms, free_ms, now_ms()]) + "\n")

    async def _worked_off_ms(self, from_ms: float, left_ms: float) -> float:
        """Work on one message, and return when it was done; an outage interrupts the work."""
        while True:
            await self._running.wait()
            from_ms = max(from_ms, self._ended_ms)
            if not await self._stops_before(from_ms + left_ms):
                return from_ms + left_ms
            if self._kind == HANG:
                left_ms -= max(0.0, self._began_ms - from_ms)

    async def _stops_before(self, due_ms: float) -> bool:
        """Wait until a time or the next outage, whichever comes first; True if the outage did."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due_ms - now_ms()) / 1000):
                await self._stopped.wait()
        return self._stopped.is_set() and self._began_ms < due_ms


async def _main(calls: Path) -> None:
    # Each line is written at once: the server is killed at the end of a calibration.
    with calls.open("w", encoding="utf-8", buffering=1) as file:
        await carry_out(_Server(file))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(Path(sys.argv[1])))
