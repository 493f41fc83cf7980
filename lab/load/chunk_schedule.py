"""What one chunk of load was asked to send, and when."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from lab.model.load import ChunkOfLoad, LoadProfile


@dataclass(frozen=True, slots=True)
class DueRequest:
    """One request of a chunk as it was planned, whether or not it is ever sent.

    `number` counts the uses of its operation since the profile's beginning and picks the text that it carries.
    `due_after_ms` counts from the beginning of the chunk.
    """

    id: str
    op: str
    number: int
    due_after_ms: float


@dataclass(frozen=True, slots=True)
class ChunkSchedule:
    """What one chunk was asked to do.

    `began_ms` is when the load profile began on the run's clock, `epoch_ms` the wall-clock time at which the run's
    clock read 0, as it was when the chunk was launched. `wall_steps` are the steps of the wall clock since then: a time
    of the run's clock just before each, and by how many ms.
    """

    source: str
    began_ms: float
    profile: LoadProfile
    chunk: ChunkOfLoad
    requests: Sequence[DueRequest]
    epoch_ms: float
    wall_steps: list[tuple[float, float]] = field(default_factory=list, compare=False)

    def know_steps(self, steps: Iterable[tuple[float, float]]) -> None:
        """Take in all steps of the wall clock since the launch; more may follow while the chunk runs."""
        self.wall_steps[:] = steps

    def run_ms(self, epoch_ms: float) -> float:
        """The time of the run's clock at a time of the wall clock, by which k6 goes.

        A time that the wall clock showed twice, because it was set back, counts as its first occurrence. So a time is
        the same before and after the lab knows of a later step.
        """
        at_ms = epoch_ms - self.epoch_ms
        for from_ms, by_ms in self.wall_steps:
            if min(at_ms, at_ms - by_ms) >= from_ms:
                at_ms -= by_ms
        return round(at_ms, 3)

    @property
    def start_ms(self) -> float:
        """When the chunk begins on the run's clock."""
        return self.began_ms + self.chunk.start_ms

    @property
    def end_ms(self) -> float:
        """When the next chunk begins."""
        return self.start_ms + self.chunk.duration_ms

    def due_ms(self, slot: int) -> float:
        """When the request of a slot is due; a slot beyond the last one is the next chunk's."""
        return round(self.began_ms + self.profile.schedule.due_ms(self.chunk.first + slot), 3)

    def due_before(self, limit_ms: float) -> int:
        """How many of the chunk's requests are due before a time on the run's clock."""
        return sum(self.due_ms(slot) < limit_ms for slot in range(len(self.requests)))

    def request(self, place: int) -> DueRequest:
        """The planned request at a place; k6 may start one more than was planned, at the very end."""
        if place < len(self.requests):
            return self.requests[place]
        op = self.requests[-1].op
        return replace(self.requests[-1], id=request_id(self.source, place, op))


def request_id(chunk: str, place: int, op: str) -> str:
    """The id of a request, unique within its run: its chunk, its place in the chunk, and its operation."""
    return f"{chunk}-{place}-{op}"
