"""While the target hangs, no more calls of the lab wait in it than the plan allows, and none stay behind."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from lab.model.plan import ObserverPlan
from lab.model.samples import Layer, Probe, Recall
from lab.observe.clock import RunClock
from lab.observe.observer import TargetObserver
from lab.probes.recall import TruthQuery
from lab.read.targets import load_target
from lab.repository import TARGETS

TIMEOUT_S = 3.0
TARGET = replace(load_target(TARGETS / "workspace-qdrant-mcp"), request_timeout_ms=int(1000 * TIMEOUT_S))
TOOLS = {TARGET.operations[name].tool for name in (TARGET.canary, TARGET.recall)}
PLAN = ObserverPlan(
    canary_slow_hz=5.0,
    canary_fast_hz=5.0,
    canary_deadline_ms=int(1000 * TIMEOUT_S),
    canary_slo_ms=200.0,
    outstanding_max=2,
    recall_hz=4.0,
    recall_k=10,
    memory_every_s=60.0,
    recall_outstanding_max=1,
)
BOUND = PLAN.outstanding_max + PLAN.recall_outstanding_max


class HangingServer:
    """A server that counts the requests that wait in it: received, not answered, and their connection still open.

    While `hangs` is set it answers nothing. `waited_max` is the largest number that ever waited.
    """

    def __init__(self) -> None:
        self.port, self.waiting, self.waited_max = 0, 0, 0
        self.received: Counter[str] = Counter()
        self.hangs = False
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._answers = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(5)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def hang(self, hangs: bool) -> None:
        def switch() -> None:
            self.hangs = hangs
            self._answers.clear() if hangs else self._answers.set()

        self._loop.call_soon_threadsafe(switch)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        server.close()
        self._loop.run_until_complete(server.wait_closed())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0]) if "content-length" in head else 0
        asked: dict[str, Any] = (
            json.loads(await reader.readexactly(length)) if length else {"method": "DELETE"}
        )
        self.received[asked.get("params", {}).get("name", asked["method"])] += 1
        self.waiting += 1
        self.waited_max = max(self.waited_max, self.waiting)
        try:
            if self.hangs and not await self._answers_before_end(reader):
                return False
        finally:
            self.waiting -= 1
        await self._answer(asked, writer)
        return True

    async def _answers_before_end(self, reader: asyncio.StreamReader) -> bool:
        """Wait until the server answers again, or until the client has closed the connection."""
        ended, answers = asyncio.create_task(reader.read(1)), asyncio.create_task(self._answers.wait())
        done, pending = await asyncio.wait([ended, answers], return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        return answers in done and ended not in done

    async def _answer(self, asked: dict[str, object], writer: asyncio.StreamWriter) -> None:
        result: dict[str, object] = {"protocolVersion": "2025-06-18", "capabilities": {}}
        if asked["method"] == "tools/call":
            found = [{"payload": {"document_id": f"d{n}"}} for n in range(10)]
            payload = {"results": found, "collections": ["a"], "success": True}
            result = {
                "content": [{"type": "text", "text": json.dumps(payload)}],
                "structuredContent": payload,
            }
        text = json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), "result": result}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        writer.write(head.encode() + b"Mcp-Session-Id: one\r\n\r\n" + text)
        await writer.drain()


class Rows:
    """A sink in memory."""

    def __init__(self) -> None:
        self.canary: list[Probe] = []
        self.recall: list[Recall] = []

    def add(self, rows: Iterable[object]) -> None:
        for row in rows:
            if isinstance(row, Probe):
                self.canary.append(row)
            elif isinstance(row, Recall):
                self.recall.append(row)


@contextmanager
def observed(plan: ObserverPlan, *, hangs: bool = False) -> Iterator[tuple[HangingServer, Rows, RunClock]]:
    """An observer at work on a server of its own, which may hang from the beginning."""
    server, rows, clock = HangingServer(), Rows(), RunClock()
    server.start()
    server.hang(hangs)
    observer = TargetObserver(
        url=f"http://127.0.0.1:{server.port}/mcp",
        target=TARGET,
        plan=plan,
        queries=[TruthQuery("q", "a query", frozenset(f"d{n}" for n in range(10)))],
        clock=clock,
        sink=rows,
        on_memory=lambda: None,
    )
    observer.start()
    try:
        yield server, rows, clock
    finally:
        observer.stop()
        server.stop()
    assert observer.died() == []


def test_a_server_that_hangs_for_twenty_seconds_never_has_more_than_the_bound_waiting() -> None:
    with observed(PLAN) as (server, rows, clock):
        time.sleep(1.5)
        server.hang(True)
        hung_ms, before = clock.now_ms(), Counter(server.received)
        time.sleep(20.0)
        waiting = server.waiting
        asked = sum(server.received[name] - before[name] for name in TOOLS)
        server.hang(False)
        healed_ms = clock.now_ms()
        time.sleep(1.5)
        assert server.waiting <= BOUND
    assert server.waited_max <= BOUND
    assert 1 <= waiting <= BOUND, "the lab's backlog at the end of the outage"
    assert asked >= 2 * PLAN.outstanding_max, "a call whose connection has ended makes room for the next one"
    assert asked <= BOUND * (20 / TIMEOUT_S + 2)
    during = [probe for probe in rows.canary if hung_ms + 1000 < probe.sent_ms < healed_ms - TIMEOUT_S * 1000]
    outcomes = Counter(probe.outcome for probe in during)
    assert set(outcomes) == {"transport", "unsent"}
    assert outcomes["unsent"] > outcomes["transport"]
    assert all(probe.done_ms is None for probe in during if probe.outcome == "unsent")
    queries = [row for row in rows.recall if hung_ms + 1000 < row.sent_ms < healed_ms - TIMEOUT_S * 1000]
    assert {row.layer for row in queries} == {Layer.UNSENT}, "no truth query while the canary has no answer"
    assert all((row.answered, row.done_ms, row.hits) == (False, None, 0) for row in queries)
    assert {row.layer for row in rows.recall if row.sent_ms < hung_ms - 500} == {Layer.OK}
    assert Layer.OK in {row.layer for row in rows.recall if row.sent_ms > healed_ms}, "asked again afterwards"
    after = [probe for probe in rows.canary if probe.sent_ms > healed_ms + 300]
    assert after
    assert {probe.outcome for probe in after} <= {"ok", "wrong", "payload"}


def test_without_a_bound_the_calls_pile_up() -> None:
    """The negative control: the server of this test does count them."""
    loose = replace(PLAN, outstanding_max=1000, recall_outstanding_max=1000)
    with observed(loose) as (server, _, _):
        time.sleep(1.0)
        server.hang(True)
        time.sleep(TIMEOUT_S)
    assert server.waited_max > 4 * BOUND


@pytest.mark.parametrize("recall_outstanding_max", [1, 3])
def test_a_server_that_hangs_from_the_beginning_has_no_more_than_the_bound_waiting(
    recall_outstanding_max: int,
) -> None:
    plan = replace(PLAN, recall_outstanding_max=recall_outstanding_max)
    with observed(plan, hangs=True) as (server, rows, _):
        time.sleep(2 * TIMEOUT_S + 1)
        server.hang(False)
        time.sleep(1.0)
    assert 1 < server.waited_max <= PLAN.outstanding_max + recall_outstanding_max
    assert {row.layer for row in rows.recall} >= {Layer.TRANSPORT, Layer.UNSENT}
