"""Turns k6's raw points of one chunk into requests.

k6 records when an iteration started, when its answer arrived, how it was judged, and when an iteration was dropped. It
does not record when an iteration was due. The lab works that out: the arrival-rate executor has a tick at each due time
of an absolute schedule, and each tick either starts an iteration or drops one. Therefore the n-th tick, in order of
time, belongs to the n-th time slot (grafana/k6, lib/executor/constant_arrival_rate.go).
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from lab.load.chunk_schedule import ChunkSchedule
from lab.model.samples import Layer, Request

_PIECE_BYTES = 256 * 1024
_LINE_BYTES_MAX = 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_WANTED = {
    f'"metric":"{name}"'.encode(): name
    for name in ("mcp_started", "mcp_answered", "mcp_call", "mcp_skipped_slots", "dropped_iterations")
}
_IS_POINT = b'"type":"Point"'


@dataclass(frozen=True, slots=True)
class ChunkRows:
    """The requests of a chunk, sorted by `scheduled_ms`, and the counts that go with them.

    `started` iterations were judged or are `lost`. The `late_slots` were due before k6 began; they count as unsent.
    The `missing` slots left no point at all, and no row is invented for them. `problems` lists the contradictions
    between the points, or between the points and the plan.
    """

    rows: tuple[Request, ...]
    truncated: bool
    started: int
    dropped: int
    lost: int
    late_slots: int
    missing: int
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Started:
    """What the points say about one iteration; times in ms of the run's clock."""

    iteration: int
    sent_ms: float
    id: str
    answered_ms: float | None = None
    op: str = ""
    layer: Layer | None = None
    message: str = ""
    sessions_lost: int = 0
    hits: int | None = None
    k: int | None = None
    query_id: str | None = None


@dataclass(slots=True)
class _Gathered:
    """All points of a chunk that the lab needs; `started` is by the iteration's number."""

    started: dict[int, _Started] = field(default_factory=dict)
    dropped_ms: list[float] = field(default_factory=list)
    late_slots: int = 0
    problems: list[str] = field(default_factory=list)


def read_chunk(path: Path, schedule: ChunkSchedule) -> ChunkRows:
    """The requests in one `points-NNNN.json.gz`; a file that is missing or incomplete counts as truncated."""
    gathered, lines = _Gathered(), GzipLines(path)
    for line in lines:
        _take(line, schedule, gathered)
    problems = [*([lines.damage] if lines.damage else []), *gathered.problems]
    return _rows(gathered, schedule, truncated=bool(lines.damage), problems=problems)


class GzipLines:
    """Reads the complete lines of a gzip file, a piece at a time.

    After the last line, `damage` says why the file is incomplete; it is empty where the file is whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.damage = ""

    def __iter__(self) -> Iterator[bytes]:
        incomplete = b""
        for piece in self._pieces():
            *lines, incomplete = (incomplete + piece).split(b"\n")
            yield from lines
            if len(incomplete) > _LINE_BYTES_MAX:
                self.damage = f"{self._path.name}: a line longer than {_LINE_BYTES_MAX} bytes"
                return
        if incomplete and not self.damage:
            self.damage = f"{self._path.name}: the last line breaks off"

    def _pieces(self) -> Iterator[bytes]:
        unpack = zlib.decompressobj(wbits=31)
        try:
            with self._path.open("rb") as file:
                while not unpack.eof and (packed := file.read(_PIECE_BYTES)):
                    yield unpack.decompress(packed, _PIECE_BYTES)
                    while unpack.unconsumed_tail:
                        yield unpack.decompress(unpack.unconsumed_tail, _PIECE_BYTES)
        except (OSError, zlib.error) as error:
            self.damage = f"{self._path.name}: {error}"
            return
        if not unpack.eof:
            self.damage = f"{self._path.name}: the gzip stream breaks off"


def _take(line: bytes, schedule: ChunkSchedule, gathered: _Gathered) -> None:
    # k6 writes the metric's name first. Most lines are k6's own metrics, which need no parsing.
    name = _WANTED.get(line[1 : line.find(b",")])
    if name is None or _IS_POINT not in line:
        return
    try:
        data = json.loads(line)["data"]
        at_ms = round(epoch_ms(data["time"]) - schedule.epoch_ms, 3)
        _take_point(name, data, at_ms, gathered)
    except (ValueError, KeyError, TypeError) as error:
        gathered.problems.append(f"a point of {name} cannot be read: {type(error).__name__}: {error}")


def _take_point(name: str, data: dict[str, Any], at_ms: float, gathered: _Gathered) -> None:
    if name == "mcp_skipped_slots":
        gathered.late_slots = int(data["value"])
        return
    if name == "dropped_iterations":
        gathered.dropped_ms.extend([at_ms] * int(data["value"]))
        return
    iteration = int(data["metadata"]["seq"])
    if name == "mcp_started":
        if iteration in gathered.started:
            gathered.problems.append(f"iteration {iteration} started twice")
        gathered.started[iteration] = _Started(iteration, at_ms, str(data["metadata"]["id"]))
        return
    if iteration not in gathered.started:
        gathered.problems.append(f"iteration {iteration} has a point of {name} and never started")
        return
    _complete(gathered.started[iteration], name, data, at_ms)


def _complete(started: _Started, name: str, data: dict[str, Any], at_ms: float) -> None:
    if name == "mcp_answered":
        started.answered_ms = at_ms
        return
    started.layer = Layer(data["tags"]["layer"])
    started.op = str(data["tags"]["op"])
    started.message = str(data["metadata"].get("message", ""))
    started.sessions_lost = int(data["metadata"].get("sessions_lost", 0))
    if "hits" in data["metadata"]:
        started.hits, started.k = int(data["metadata"]["hits"]), int(data["metadata"]["k"])
        started.query_id = str(data["metadata"]["query"])


def epoch_ms(text: str) -> float:
    """Milliseconds since 1970 of an RFC 3339 time, to the microsecond; raises ValueError on anything else."""
    return ((datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND) / 1000


def _rows(gathered: _Gathered, schedule: ChunkSchedule, *, truncated: bool, problems: list[str]) -> ChunkRows:
    late = gathered.late_slots
    # k6 takes the next request of the sequence whenever an iteration starts, so it never comes to the last ones.
    never_sent = count(late + max(gathered.started, default=-1) + 1)
    rows = [_unsent(slot, slot, schedule, "the load generator started late") for slot in range(late)]
    for tick, started in _in_order(gathered.started, gathered.dropped_ms):
        if started is not None:
            rows.append(_request(late + tick, late + started.iteration, started, schedule))
        elif late + tick < len(
            schedule.requests
        ):  # A tick at the end of the chunk is the next chunk's first slot.
            rows.append(_unsent(late + tick, next(never_sent), schedule, "no virtual user was free"))
    problems += _wrong_ids(gathered, schedule, rows)
    if holes := max(gathered.started, default=-1) + 1 - len(gathered.started):
        problems.append(f"{holes} iterations in between left no trace")
    return ChunkRows(
        rows=tuple(rows),
        truncated=truncated,
        started=len(gathered.started),
        dropped=len(rows) - late - len(gathered.started),
        lost=sum(row.layer is Layer.LOST for row in rows),
        late_slots=late,
        missing=max(0, len(schedule.requests) - len(rows)),
        problems=tuple(problems),
    )


def _wrong_ids(gathered: _Gathered, schedule: ChunkSchedule, rows: Sequence[Request]) -> Iterator[str]:
    """What is wrong with the ids: each request must have the one that the plan gave it, and no two the same."""
    planned = {n: schedule.request(gathered.late_slots + n).id for n in gathered.started}
    if wrong := [n for n, started in sorted(gathered.started.items()) if started.id != planned[n]]:
        sent = gathered.started[wrong[0]].id
        yield (
            f"{len(wrong)} iterations sent another request than planned:"
            f" iteration {wrong[0]} sent {sent!r:.60}, not {planned[wrong[0]]}"
        )
    times = Counter(row.id for row in rows)
    if twice := [f"{name!r:.60}" for name, n in times.items() if n > 1]:
        yield f"{len(twice)} request ids occur twice, such as {twice[0]}"


def _in_order(started: dict[int, _Started], dropped_ms: list[float]) -> Iterator[tuple[int, _Started | None]]:
    """The ticks in order, each with the iteration that it started, or None where it dropped one."""
    drops, drops_before = sorted(dropped_ms), 0
    for iteration in sorted(started):
        while drops_before < len(drops) and drops[drops_before] < started[iteration].sent_ms:
            yield iteration + drops_before, None
            drops_before += 1
        yield iteration + drops_before, started[iteration]
    after = max(started, default=-1) + 1
    yield from ((after + number, None) for number in range(drops_before, len(drops)))


def _unsent(slot: int, place: int, schedule: ChunkSchedule, why: str) -> Request:
    """A request that was due and not sent: `slot` is the time that stayed empty, `place` the planned request."""
    planned = schedule.request(place)
    return Request(
        scheduled_ms=schedule.due_ms(slot),
        sent_ms=None,
        done_ms=None,
        op=planned.op,
        ok=False,
        layer=Layer.UNSENT,
        message=why,
        source=schedule.source,
        id=planned.id,
    )


def _request(slot: int, place: int, started: _Started, schedule: ChunkSchedule) -> Request:
    judged = started.layer is not None and started.answered_ms is not None
    layer = started.layer if started.layer and judged else Layer.LOST
    # Only an answer ends a request. A request without a connection, or without an answer in time, is censored.
    answered = layer not in (Layer.LOST, Layer.TRANSPORT)
    return Request(
        scheduled_ms=schedule.due_ms(slot),
        sent_ms=started.sent_ms,
        done_ms=started.answered_ms if answered else None,
        op=started.op or schedule.request(place).op,
        ok=layer is Layer.OK,
        layer=layer,
        message="started and never ended" if layer is Layer.LOST else started.message,
        source=schedule.source,
        sessions_lost=started.sessions_lost,
        id=started.id,
        hits=started.hits if answered else None,
        k=started.k if answered else None,
        query_id=started.query_id if answered else None,
    )
