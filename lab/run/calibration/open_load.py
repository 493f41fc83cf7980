"""The load of a calibration: calls on an open schedule, by asyncio, in place of k6."""

import asyncio
import threading
from functools import partial

from lab.boundary import Caught, attempt_async, run_sampler
from lab.model.load import LoadProfile
from lab.model.samples import Layer, Request
from lab.model.target import Target
from lab.observe.mcp import McpSession
from lab.ports import Clock, Sink
from lab.probes.recall import TruthQuery, claims_success, count_hits

SOURCE = "calibration"
STOP_TIMEOUT_S = 15.0


class OpenLoad:
    """A thread that asks one truth query at each due time, however long the answers take, and stores the rows."""

    def __init__(
        self, url: str, target: Target, profile: LoadProfile, query: TruthQuery, clock: Clock, sink: Sink
    ) -> None:
        self._url, self._target, self._profile, self._query = url, target, profile, query
        self._clock, self._sink, self._k = clock, sink, len(query.accepted)
        self._deaths: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="calibration-load", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait for what is under way."""
        self._stopping.set()
        self._thread.join(STOP_TIMEOUT_S + self._profile.request_timeout_ms / 1000)
        if self._thread.is_alive():
            self._deaths.append("did not stop in time")

    def died(self) -> list[str]:
        """Why it failed, if it did."""
        return list(self._deaths)

    def _run(self) -> None:
        run_sampler(lambda: asyncio.run(self._send_all()), self._deaths.append)

    async def _send_all(self) -> None:
        session = McpSession(self._url, self._target.protocol_version)
        began_ms, number, pending = self._clock.now_ms(), 0, set[asyncio.Task[None]]()
        while not self._stopping.is_set():
            due_ms = began_ms + self._profile.schedule.due_ms(number)
            await asyncio.sleep(max(0.0, due_ms - self._clock.now_ms()) / 1000)
            task = asyncio.create_task(self._send(session, number, due_ms))
            pending.add(task)
            task.add_done_callback(pending.discard)
            number += 1
        if pending:
            await asyncio.wait(pending)
        await session.close()

    async def _send(self, session: McpSession, number: int, due_ms: float) -> None:
        row = await attempt_async(self._request(session, number, due_ms))
        if isinstance(row, Caught):
            self._deaths.append(str(row))
        else:
            self._sink.add([row])

    async def _request(self, session: McpSession, number: int, due_ms: float) -> Request:
        operation, k = self._target.operations[self._target.recall], self._k
        values = {"query": self._query.text, "k": k, "truth_collection": self._target.truth_collection}
        sent_ms = self._clock.now_ms()
        timeout_s = self._profile.request_timeout_ms / 1000
        outcome = await session.call(operation, values, timeout_s=timeout_s)
        request = partial(
            Request,
            scheduled_ms=due_ms,
            sent_ms=sent_ms,
            op=operation.name,
            ok=outcome.layer is Layer.OK,
            layer=outcome.layer,
            message=outcome.message,
            source=SOURCE,
            id=f"{SOURCE}-{number}",
        )
        if not claims_success(outcome, operation):
            # As with k6, a request without an answer in time has no end.
            return request(done_ms=None if outcome.layer is Layer.TRANSPORT else self._clock.now_ms())
        hits = count_hits(outcome, operation, self._query, k)
        return request(done_ms=self._clock.now_ms(), hits=hits, k=k, query_id=self._query.id)
