"""What one chunk of load was asked to send, and when."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    clock read 0.
    """

    source: str
    began_ms: float
    profile: LoadProfile
    chunk: ChunkOfLoad
    requests: Sequence[DueRequest]
    epoch_ms: float

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
