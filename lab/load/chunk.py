"""One chunk of load, from the launch of its container to its collection, and the stretch of the run it belongs to."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from docker.models.containers import Container

from lab.load.chunk_schedule import ChunkSchedule
from lab.load.containers import Exit
from lab.load.live_points import LivePoints
from lab.load.request_rows import ChunkRows
from lab.model.load import LoadProfile
from lab.model.samples import Request

# k6's own work after the last request: it ends its sessions and writes the rest of its points.
WIND_UP_MS = 20_000.0
# k6 may end this much before its time without a reason.
_EARLY_MS = 500.0
# Twice what does not count as a step: just before the launch, and just before the end.
_MOVED_MS_MAX = 100.0


@dataclass(slots=True)
class Stretch:
    """A part of the run under one load, from `began_ms` until `stop_ms`; both on the run's clock."""

    profile: LoadProfile
    began_ms: float
    stop_ms: float = float("inf")
    chunks_launched: int = 0

    @property
    def next_start_ms(self) -> float:
        """When the chunk begins that is launched next; infinite if the stretch ends before that."""
        start_ms = self.began_ms + self.profile.chunk(self.chunks_launched).start_ms
        return start_ms if start_ms < self.stop_ms else float("inf")


@dataclass(slots=True)
class Chunk:
    """One chunk; `cut_ms` is when its load was ended because its stretch ended, if it was.

    `handed` holds the requests that went to the samples while k6 was running.
    """

    schedule: ChunkSchedule
    stretch: Stretch
    points: LivePoints
    handed: set[Request] = field(default_factory=set)
    read_ms: float = 0.0
    container: Container | None = None
    launched_ms: float = 0.0
    announced: bool = False
    checked_ms: float = 0.0
    cut_ms: float | None = None

    @property
    def name(self) -> str:
        """The chunk's name in file names, in the journal and in `Request.source`."""
        return self.schedule.source

    @property
    def start_ms(self) -> float:
        """When its first request is due."""
        return self.schedule.start_ms

    @property
    def end_ms(self) -> float:
        """When the next chunk of the same load begins."""
        return self.schedule.end_ms

    @property
    def grace_ms(self) -> float:
        """How long a request may still be under way after the last one was due."""
        return self.stretch.profile.graceful_stop_ms

    def is_withdrawn(self) -> bool:
        """Whether the stretch ends before the chunk begins."""
        return self.start_ms >= self.stretch.stop_ms

    def is_ending(self, now_ms: float) -> bool:
        """Whether no more of its requests will become due."""
        return now_ms >= min(self.end_ms, self.stretch.stop_ms)

    def must_be_cut(self, now_ms: float) -> bool:
        """Whether its stretch has ended, and every request that was due before is settled or had its whole time."""
        if not self.stretch.stop_ms <= now_ms < self.end_ms:
            return False
        return self.is_settled or self.stretch.stop_ms + self.grace_ms <= now_ms

    @property
    def is_settled(self) -> bool:
        """Whether the samples have each request that was due, or k6 began too late to send it."""
        return not self.missing(len(self.handed) + self.points.late_slots)

    def has_overrun(self, now_ms: float) -> bool:
        """Whether k6 should have ended by itself long ago."""
        return now_ms >= self.end_ms + self.grace_ms + WIND_UP_MS

    def counted(self, rows: Iterable[Request]) -> list[Request]:
        """The requests that belong to the stretch; k6 may have sent more before it was cut."""
        return [row for row in rows if row.scheduled_ms < self.stretch.stop_ms]

    def missing(self, rows: int) -> int:
        """How many due requests are missing if there are this many rows."""
        return max(0, self.schedule.due_before(min(self.stretch.stop_ms, self.end_ms)) - rows)

    def unexplained_ms(self, moved_ms: float) -> float:
        """How far the wall clock has moved since the launch, beyond its known steps; 0 where that is little."""
        rest_ms = moved_ms - sum(by_ms for _, by_ms in self.schedule.wall_steps)
        return rest_ms if abs(rest_ms) > _MOVED_MS_MAX else 0.0

    def problems(self, ended: Exit, found: ChunkRows, missing: int, errors: list[str]) -> Iterator[str]:
        """What makes this chunk's evidence incomplete; k6's exit code alone does not."""
        yield from found.problems
        if ended.out_of_memory:
            yield "k6 ran out of memory"
        finished_ms = None if ended.at_epoch_ms is None else self.schedule.run_ms(ended.at_epoch_ms)
        if self.cut_ms is None and finished_ms is not None and finished_ms < self.end_ms - _EARLY_MS:
            message = f"; its last error: {errors[-1][:300]}" if errors else ""
            early_s = (self.end_ms - finished_ms) / 1000
            yield f"k6 ended {early_s:.1f} s early with exit code {ended.code}{message}"
        if missing:
            yield f"{missing} of {len(self.schedule.requests)} requests that were due left no trace"
