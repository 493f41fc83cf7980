"""The requests of one chunk, and how each is made from what k6's points say about it."""

from dataclasses import dataclass

from lab.load.chunk_schedule import ChunkSchedule
from lab.model.samples import Layer, Request


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
class StartedIteration:
    """What the points say about one iteration; times in ms of the run's clock.

    `order_ms` is its place in time among the ticks: when it was sent, or when the points before it were settled, if
    k6 wrote it only after that.
    """

    iteration: int
    sent_ms: float
    order_ms: float
    id: str
    answered_ms: float | None = None
    op: str = ""
    layer: Layer | None = None
    message: str = ""
    sessions_lost: int = 0
    hits: int | None = None
    k: int | None = None
    query_id: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether its answer and its judgement are there."""
        return self.layer is not None and self.answered_ms is not None


def unsent_request(slot: int, place: int, schedule: ChunkSchedule, why: str) -> Request:
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


def started_request(slot: int, place: int, started: StartedIteration, schedule: ChunkSchedule) -> Request:
    """A request that was sent in a slot; it is lost if its answer or its judgement is missing."""
    layer = started.layer if started.layer and started.has_ended else Layer.LOST
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
