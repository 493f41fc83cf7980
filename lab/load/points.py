"""Turns k6's raw points of one chunk into requests, while k6 writes them or afterwards.

k6 records when an iteration started, when its answer arrived, how it was judged, and when an iteration was dropped. It
does not record when an iteration was due. The lab works that out: the arrival-rate executor has a tick at each due time
of an absolute schedule, and each tick either starts an iteration or drops one. Therefore the n-th tick, in order of
time, belongs to the n-th time slot (grafana/k6, lib/executor/constant_arrival_rate.go).
"""

import json
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from lab.load.chunk_schedule import ChunkSchedule
from lab.load.point_lines import GzipLines
from lab.load.request_rows import ChunkRows, StartedIteration, started_request, unsent_request
from lab.model.samples import Layer, Request

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# `vus` is written once a second and only shows how far k6 has come.
_WANTED = {
    f'"metric":"{name}"'.encode(): name
    for name in ("mcp_started", "mcp_answered", "mcp_call", "mcp_skipped_slots", "dropped_iterations", "vus")
}
_IS_POINT = b'"type":"Point"'
# k6 writes its points in order of time, except that two which arise together may change places. A tick is settled once
# a point was written that is so much younger: what comes after that cannot belong before it.
SETTLED_AFTER_MS = 500.0
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class ChunkReader:
    """Takes the lines of one chunk's points in turn, and gives each request as soon as nothing can change it.

    The requests depend on the lines alone, and not on when they are read or asked for. So those that `settled` gave
    while k6 was running are among those that `finish` gives, as they are. A line that contradicts what is settled is
    a problem, and changes nothing.
    """

    def __init__(self, schedule: ChunkSchedule) -> None:
        self._schedule = schedule
        self._started: dict[int, StartedIteration] = {}
        self._drops_ms: list[float] = []
        self._late_slots = 0
        self._problems: list[str] = []
        self._newest_ms = float("-inf")
        # For each iteration whose place among the ticks is settled, the number of drops before it.
        self._drops_before: list[int] = []
        self._rows: dict[int, Request] = {}
        self._fresh: list[Request] = []

    def take(self, line: bytes) -> None:
        """Take one line of k6's output; most lines are k6's own metrics, which need no parsing."""
        # k6 writes the metric's name first.
        name = _WANTED.get(line[1 : line.find(b",")])
        if name is None or _IS_POINT not in line:
            return
        try:
            data = json.loads(line)["data"]
            at_ms = self._schedule.run_ms(epoch_ms(data["time"]))
            self._take_point(name, data, at_ms)
        except _UNREADABLE as error:
            self._problems.append(f"a point of {name} cannot be read: {type(error).__name__}: {error}")
            return
        if at_ms > self._newest_ms:
            self._newest_ms = at_ms
            self._settle_ticks(at_ms - SETTLED_AFTER_MS)

    @property
    def late_slots(self) -> int:
        """How many requests were due before k6 began; 0 until it says so."""
        return self._late_slots

    def settled(self) -> list[Request]:
        """The requests that were settled since the last call."""
        rows, self._fresh = self._fresh, []
        return rows

    def finish(self, damage: str = "") -> ChunkRows:
        """All requests of the chunk, after its last line; `damage` says why the lines are incomplete, if they are."""
        drops_before = dict(enumerate(self._drops_before))
        latest = self._drops_before[-1] if self._drops_before else 0
        for iteration in sorted(self._started.keys() - drops_before.keys()):
            latest = max(latest, bisect_left(self._drops_ms, self._started[iteration].order_ms))
            drops_before[iteration] = latest
        rows = self._all_rows(drops_before)
        problems = [*([damage] if damage else []), *self._problems, *self._wrong_ids(rows)]
        if holes := max(self._started, default=-1) + 1 - len(self._started):
            problems.append(f"{holes} iterations in between left no trace")
        return ChunkRows(
            rows=tuple(rows),
            truncated=bool(damage),
            started=len(self._started),
            dropped=len(rows) - self._late_slots - len(self._started),
            lost=sum(row.layer is Layer.LOST for row in rows),
            late_slots=self._late_slots,
            missing=max(0, len(self._schedule.requests) - len(rows)),
            problems=tuple(problems),
        )

    def _take_point(self, name: str, data: dict[str, Any], at_ms: float) -> None:
        if name == "mcp_skipped_slots":
            self._take_late_slots(int(data["value"]))
        elif name == "dropped_iterations":
            self._take_drops(int(data["value"]), at_ms)
        elif name == "mcp_started":
            self._take_start(int(data["metadata"]["seq"]), str(data["metadata"]["id"]), at_ms)
        elif name != "vus":
            self._take_end(name, data, at_ms)

    def _take_late_slots(self, late_slots: int) -> None:
        if self._drops_before:
            self._problems.append(f"{late_slots} late slots were reported after the first request")
        else:
            self._late_slots = late_slots

    def _take_drops(self, drops: int, at_ms: float) -> None:
        if at_ms < self._settled_until_ms:
            self._problems.append(
                f"{drops} dropped iterations were reported too late for their place in time"
            )
        for _ in range(drops):
            insort(self._drops_ms, max(at_ms, self._settled_until_ms))

    def _take_start(self, iteration: int, name: str, at_ms: float) -> None:
        if iteration in self._started:
            self._problems.append(f"iteration {iteration} started twice")
            return
        order_ms = max(at_ms, self._settled_until_ms)
        self._started[iteration] = StartedIteration(iteration, at_ms, order_ms, name)

    def _take_end(self, name: str, data: dict[str, Any], at_ms: float) -> None:
        iteration = int(data["metadata"]["seq"])
        started = self._started.get(iteration)
        if started is None:
            self._problems.append(f"iteration {iteration} has a point of {name} and never started")
        elif started.has_ended:
            self._problems.append(f"iteration {iteration} has a point of {name} after its end")
        else:
            _complete(started, name, data, at_ms)
            self._settle_row(started)

    @property
    def _settled_until_ms(self) -> float:
        """The time up to which the order of the ticks is settled."""
        return self._newest_ms - SETTLED_AFTER_MS

    def _settle_ticks(self, until_ms: float) -> None:
        """Give each iteration its place among the ticks, in order, as far as no earlier tick can still come."""
        while (started := self._started.get(len(self._drops_before))) and started.order_ms <= until_ms:
            latest = self._drops_before[-1] if self._drops_before else 0
            self._drops_before.append(max(latest, bisect_left(self._drops_ms, started.order_ms)))
            self._settle_row(started)

    def _settle_row(self, started: StartedIteration) -> None:
        if started.has_ended and started.iteration < len(self._drops_before):
            row = self._row(started, self._drops_before[started.iteration])
            self._rows[started.iteration] = row
            self._fresh.append(row)

    def _row(self, started: StartedIteration, drops_before: int) -> Request:
        place = self._late_slots + started.iteration
        return started_request(place + drops_before, place, started, self._schedule)

    def _all_rows(self, drops_before: dict[int, int]) -> list[Request]:
        late, schedule = self._late_slots, self._schedule
        # k6 takes the next request of the sequence when an iteration starts. A dropped one takes none, so the last
        # requests of the sequence are those that were never sent.
        after = max(self._started, default=-1) + 1
        never_sent = count(late + after)
        rows = [
            unsent_request(slot, slot, schedule, "the load generator started late") for slot in range(late)
        ]

        def dropped(drops: Sequence[int], iteration: int) -> Iterator[Request]:
            for slot in (late + iteration + drop for drop in drops):
                # A tick at the end of the chunk is the next chunk's first slot.
                if slot < len(schedule.requests):
                    yield unsent_request(slot, next(never_sent), schedule, "no virtual user was free")

        before = 0
        for iteration in sorted(self._started):
            rows += dropped(range(before, drops_before[iteration]), iteration)
            before = drops_before[iteration]
            rows.append(self._rows.get(iteration) or self._row(self._started[iteration], before))
        rows += dropped(range(before, len(self._drops_ms)), after)
        return rows

    def _wrong_ids(self, rows: Sequence[Request]) -> Iterator[str]:
        """What is wrong with the ids: each request must have the one that the plan gave it, and no two the same."""
        planned = {n: self._schedule.request(self._late_slots + n).id for n in self._started}
        if wrong := [n for n, started in sorted(self._started.items()) if started.id != planned[n]]:
            sent = self._started[wrong[0]].id
            yield (
                f"{len(wrong)} iterations sent another request than planned:"
                f" iteration {wrong[0]} sent {sent!r:.60}, not {planned[wrong[0]]}"
            )
        times = Counter(row.id for row in rows)
        if twice := [f"{name!r:.60}" for name, n in times.items() if n > 1]:
            yield f"{len(twice)} request ids occur twice, such as {twice[0]}"


def read_chunk(path: Path, schedule: ChunkSchedule) -> ChunkRows:
    """The requests in one `points-NNNN.json.gz`; a file that is missing or incomplete counts as truncated."""
    reader, lines = ChunkReader(schedule), GzipLines(path)
    for line in lines:
        reader.take(line)
    return reader.finish(lines.damage)


def _complete(started: StartedIteration, name: str, data: dict[str, Any], at_ms: float) -> None:
    """Take the answer or the judgement of an iteration; raises, and changes nothing, if it cannot be read."""
    if name == "mcp_answered":
        started.answered_ms = at_ms
        return
    metadata, layer, op = data["metadata"], Layer(data["tags"]["layer"]), str(data["tags"]["op"])
    sessions_lost = int(metadata.get("sessions_lost", 0))
    if "hits" in metadata:
        hits, k, query_id = int(metadata["hits"]), int(metadata["k"]), str(metadata["query"])
        started.hits, started.k, started.query_id = hits, k, query_id
    started.message = str(metadata.get("message", ""))
    started.layer, started.op, started.sessions_lost = layer, op, sessions_lost


def epoch_ms(text: str) -> float:
    """Milliseconds since 1970 of an RFC 3339 time, to the microsecond; raises ValueError on anything else."""
    return ((datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND) / 1000
