"""Samples the target during a run, on open schedules: canary, truth queries, memory, and whether the store is idle.

It is one thread with one event loop. Each slot is a task of its own, so a probe that hangs does not delay the next one.
At most `outstanding_max` canary calls and `recall_outstanding_max` truth queries wait in the target at once; a slot
beyond that is recorded as `unsent`. So is a truth query that is due while a canary call has waited for long: it would
only lengthen the queue of a target that hangs. A call waits until it is answered, or until its connection has ended.
A probe that is late only because the event loop itself was stalled is recorded as `stalled`. None of these is evidence
against the target.
"""

import asyncio
import itertools
import math
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial

import httpx

from lab.boundary import Caught, attempt_async, run_sampler
from lab.model.plan import ObserverPlan
from lab.model.samples import STALLED, Layer, Probe, Recall
from lab.model.target import Target
from lab.observe.mcp import McpSession
from lab.observe.plain_transport import PlainTransport
from lab.observe.stalls import Stalls
from lab.ports import Clock, Sink
from lab.probes import canary, recall, store_idle
from lab.probes.recall import TruthQuery

STOP_TIMEOUT_S = 15.0
# If the lab itself could not ask this many truth queries, it counts as unable to ask any.
LOST_QUERIES_MAX = 20
# A slot that the lab itself missed by more than this is not made up for.
CATCH_UP_MS = 100.0
# A canary call that has waited for so long tells that the target hangs, or has a backlog to work off.
HANGS_AFTER_MS = 1000.0
# The end of a connection takes this long at most to reach the target, through the proxy.
END_ARRIVES_S = 0.1


class TargetObserver:
    """Implements `lab.ports.Observer`. `on_memory` reads the memory once and stores its samples itself.

    `accuracy` is the share of the exact documents that a right canary answer contains. `store_url` is the store's own
    address, past all proxies; without it the store is not probed. `on_beat` is called at each beat of the event loop
    (`Stalls`), with the times at which that was due and at which it happened.
    """

    def __init__(
        self,
        *,
        url: str,
        target: Target,
        plan: ObserverPlan,
        queries: Sequence[TruthQuery],
        clock: Clock,
        sink: Sink,
        on_memory: Callable[[], None],
        accuracy: float = 0.9,
        store_url: str | None = None,
        on_beat: Callable[[float, float], None] = lambda due_ms, woke_ms: None,
    ) -> None:
        self._accuracy, self._store_url = accuracy, store_url
        self._canary_queries = itertools.cycle(queries)
        self._url, self._target, self._plan, self._queries = url, target, plan, queries
        self._deadline_s = plan.canary_deadline_ms / 1000
        self._clock, self._sink, self._on_memory = clock, sink, on_memory
        self._fast = False
        # Calls that wait in the target: when each of the canary began, and how many truth queries there are.
        self._canary_since_ms: list[float] = []
        self._canary_gave_up = False
        self._recall_outstanding = 0
        self._queries_lost = 0
        self._stalls = Stalls(clock, on_beat)
        self._deaths: list[tuple[str, str]] = []
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Task[bool] | None = None
        self._stop_event = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more probes, and wait for those that are under way."""
        self._stopping.set()
        if self._loop is not None:
            # The loop may have ended by itself.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop_event.set)
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S + self._target.request_timeout_ms / 1000)
        if self._thread.is_alive():
            self._deaths.append(("observer", "did not stop in time"))

    def watch_closely(self, closely: bool) -> None:
        """Run the canary at its fast rate, or at its slow one."""
        self._fast = closely

    def died(self) -> list[tuple[str, str]]:
        """Each sampler that failed, with the reason."""
        return list(self._deaths)

    def _run(self) -> None:
        run_sampler(lambda: asyncio.run(self._observe()), partial(self._report, "observer"))

    def _report(self, sampler: str, why: str) -> None:
        """Note once that a sampler failed for this reason: many slots may fail in the same way."""
        if (sampler, why) not in self._deaths:
            self._deaths.append((sampler, why))

    async def _watched(self, sampler: str, work: Coroutine[None, None, None]) -> None:
        """Run one sampler and report the exception that ended it, if any; the other samplers go on."""
        ended = await attempt_async(work)
        if isinstance(ended, Caught):
            self._report(sampler, str(ended))

    async def _observe(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = self._loop.create_task(self._stop_event.wait())
        if self._stopping.is_set():
            self._stop_event.set()
        version = self._target.protocol_version
        canary_session, recall_session = McpSession(self._url, version), McpSession(self._url, version)
        pending: set[asyncio.Task[None]] = set()
        samplers = {
            "canary": self._canary_loop(canary_session, pending),
            "recall": self._recall_loop(recall_session, pending),
            "memory": self._memory_loop(),
            "stalls": self._stalls.watch(self._stopped),
            "store_idle": self._store_loop(),
        }
        try:
            await asyncio.gather(*(self._watched(name, work) for name, work in samplers.items()))
            if pending:
                await asyncio.wait(pending, timeout=self._target.request_timeout_ms / 1000)
        finally:
            for session in (canary_session, recall_session):
                await self._watched("observer", session.close())
            self._stopped.cancel()

    async def _canary_loop(self, session: McpSession, pending: set[asyncio.Task[None]]) -> None:
        """Tick at the fast rate and skip ticks while it is slow, so that a change of rate takes effect at once."""
        slow_every = max(1, math.ceil(self._plan.canary_fast_hz / self._plan.canary_slow_hz - 1e-9))
        next_ms = self._clock.now_ms()
        for tick in itertools.count():
            if self._stopping.is_set():
                return
            if self._fast or tick % slow_every == 0:
                self._spawn(pending, "canary", self._canary_slot(session))
            next_ms = await self._sleep_until(next_ms + 1000 / self._plan.canary_fast_hz)

    async def _canary_slot(self, session: McpSession) -> None:
        if len(self._canary_since_ms) >= self._plan.outstanding_max:
            waiting = f"{len(self._canary_since_ms)} probes were outstanding"
            self._sink.add([canary.unsent(self._clock, self._target, waiting)])
            return
        since_ms = self._clock.now_ms()
        self._canary_since_ms.append(since_ms)
        try:
            with self._stalls.measuring():
                probe = await self._canary_probe(session)
                probe = self._stalls.excuse(probe, self._deadline_s, self._plan.canary_slo_ms)
            self._sink.add([probe])
            silent = probe.outcome == Layer.TRANSPORT.value
            self._canary_gave_up = silent and self._clock.now_ms() - since_ms > HANGS_AFTER_MS
            await self._leave_target(session, given_up=silent or probe.outcome == STALLED)
        finally:
            self._canary_since_ms.remove(since_ms)

    async def _leave_target(self, session: McpSession, *, given_up: bool) -> None:
        """Wait until nothing of a call is left in the target; the connection of one that was given up has ended."""
        await session.settle()
        if given_up:
            await asyncio.sleep(END_ARRIVES_S)

    async def _canary_probe(self, session: McpSession) -> Probe:
        """One probe. If the lab itself could not make it, it is `unsent`: no evidence against the target."""
        query = canary.Query(next(self._canary_queries), self._plan.recall_k, self._accuracy)
        asked = canary.measure(session, self._clock, self._target, query, self._deadline_s)
        probe = await attempt_async(asked)
        if isinstance(probe, Caught):
            self._report("probe", str(probe))
            return canary.unsent(self._clock, self._target, str(probe))
        return probe

    async def _store_loop(self) -> None:
        """Tick at the fast rate, and skip ticks while the canary is slow and the store was idle at the last probe."""
        if self._store_url is None:
            return
        idle, next_ms = False, self._clock.now_ms()
        limit_s, transport = store_idle.DEADLINE_S, PlainTransport()
        async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=limit_s) as http:
            for tick in itertools.count():
                if self._stopping.is_set():
                    return
                if self._fast or not idle or tick % store_idle.SLOW_EVERY == 0:
                    with self._stalls.measuring():
                        probe = await store_idle.measure(http, self._clock, self._store_url)
                        probe = self._stalls.excuse(probe, limit_s, 1000 * limit_s)
                    idle = probe.outcome == Layer.OK.value
                    self._sink.add([probe])
                next_ms = await self._sleep_until(next_ms + 1000 / store_idle.HZ)

    async def _recall_loop(self, session: McpSession, pending: set[asyncio.Task[None]]) -> None:
        next_ms = self._clock.now_ms()
        for query in itertools.cycle(self._queries):
            if self._stopping.is_set():
                return
            if self._queries_lost >= LOST_QUERIES_MAX:
                raise RuntimeError(f"{self._queries_lost} truth queries were lost")
            self._spawn(pending, "recall", self._recall_slot(session, query))
            next_ms = await self._sleep_until(next_ms + 1000 / self._plan.recall_hz)

    async def _recall_slot(self, session: McpSession, query: TruthQuery) -> None:
        k = self._plan.recall_k
        if why := self._why_not_asked():
            self._sink.add([recall.unsent(self._clock, self._target, query, k, why)])
            return
        self._recall_outstanding += 1
        try:
            sent_ms = self._clock.now_ms()
            row = await attempt_async(recall.measure(session, self._clock, self._target, query, k))
            self._take_recall(row, sent_ms)
            given_up = isinstance(row, Caught) or row.layer is Layer.TRANSPORT
            await self._leave_target(session, given_up=given_up)
        finally:
            self._recall_outstanding -= 1

    def _why_not_asked(self) -> str:
        """Why no truth query may be asked now, in words; else empty."""
        if self._recall_outstanding >= self._plan.recall_outstanding_max:
            return f"{self._recall_outstanding} truth queries were outstanding"
        waited_ms = self._clock.now_ms() - min(self._canary_since_ms, default=float("inf"))
        hangs = self._canary_gave_up or waited_ms > HANGS_AFTER_MS
        return "the canary waits for an answer, or had none in its time" if hangs else ""

    def _take_recall(self, row: Recall | Caught, sent_ms: float) -> None:
        """Hand over the row of a truth query. If the lab itself could not make it, that is reported."""
        if isinstance(row, Caught):
            # No row says that it is missing, so each one is reported.
            self._queries_lost += 1
            self._report("probe", f"the truth query of {sent_ms:.0f} ms was lost: {row}")
        else:
            self._sink.add([row])

    async def _memory_loop(self) -> None:
        next_ms = self._clock.now_ms()
        while not self._stopping.is_set():
            await asyncio.to_thread(self._on_memory)
            next_ms = await self._sleep_until(next_ms + 1000 * self._plan.memory_every_s)

    async def _sleep_until(self, due_ms: float) -> float:
        """Sleep until a slot is due, and return its time. Slots that the lab itself missed are not made up for.

        They are a gap between the samples, and the judge sees it.
        """
        left_ms = due_ms - self._clock.now_ms()
        if left_ms > 0 and self._stopped is not None:
            await asyncio.wait([self._stopped], timeout=left_ms / 1000)
        return max(due_ms, self._clock.now_ms() - CATCH_UP_MS)

    def _spawn(
        self, pending: set[asyncio.Task[None]], sampler: str, slot: Coroutine[None, None, None]
    ) -> None:
        task = asyncio.get_running_loop().create_task(self._watched(sampler, slot))
        pending.add(task)
        task.add_done_callback(pending.discard)
