"""Delay every answer from a service, as a slow or distant network would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import PACE
from lab.faults.link import proof
from lab.faults.link.looks import compared_max_s
from lab.faults.link.proof import Direction, Link, Signs, Toxicity
from lab.model.undo import RemoveToxic
from lab.ports import Fault, Observation, World
from lab.ports.proxies import Exchange, Seen

# Half of the promised delay gone is not healed: the toxic is either there or not, so a tenth is generous.
ABSENT_SHARE = 0.1
ABSENT_FLOOR_MS = 25.0
# What the fastest trip before may have been slower by than the fastest could be.
CLOCK_MS = 5.0


@dataclass(frozen=True, slots=True)
class Latency(Fault):
    """Adds `latency_ms` plus or minus `jitter_ms` to what the target's proxy passes on in one direction.

    `mcp` is the link from the load to the MCP server, `qdrant` the link from the MCP server to Qdrant; `toxicity` is
    the share of connections that are hit. Source: Toxiproxy's `latency` toxic. Its jitter cannot be seeded.
    """

    kind: ClassVar[str] = "latency"
    family: ClassVar[str] = "link"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp")
    resources: ClassVar[tuple[str, ...]] = (PACE,)

    target: Link
    latency_ms: Annotated[int, Ge(50), Le(60_000)] = 300
    jitter_ms: Annotated[int, Ge(0), Le(30_000)] = 0
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    def __post_init__(self) -> None:
        # With more jitter the smallest promised delay is too small to be told from none.
        if self.jitter_ms > self.latency_ms / 2:
            raise ValueError(f"jitter_ms {self.jitter_ms} is more than half of latency_ms {self.latency_ms}")

    @property
    def look_max_s(self) -> float:
        """Seconds that one look may take."""
        return compared_max_s(self._patience_s, self.toxicity)

    def prepare(self, world: World) -> RemoveToxic:
        """The proxy must exist and be enabled, else a toxic would change nothing."""
        return proof.toxic_undo(world, self.target, self.kind, self.direction)

    def inject(self, world: World, undo: RemoveToxic) -> None:
        """Add the toxic under the name that the undo removes."""
        delays = {"latency": self.latency_ms, "jitter": self.jitter_ms}
        proof.add(world, undo, kind="latency", direction=self.direction, toxicity=self.toxicity, **delays)

    @property
    def _patience_s(self) -> float:
        return 10.0 + 2 * (self.latency_ms + self.jitter_ms) / 1000

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when each trip that is hit is slower by the smallest promised delay, and none past the proxy is."""
        what = Exchange(patience_s=self._patience_s)
        seen = world.proxies.compare(self.target, what, proof.tries(self.toxicity))
        trip = proof.least(one.first_ms for one in seen.through)
        floor = proof.floor_of(before, (one.first_ms for one in seen.past), trip)
        # Toxiproxy draws each delay from [latency - jitter, latency + jitter].
        delay_ms = self.latency_ms - self.jitter_ms
        hit_from = floor + delay_ms - CLOCK_MS
        clean_to = floor + max(ABSENT_FLOOR_MS, ABSENT_SHARE * self.latency_ms)

        def hit(one: Seen) -> bool:
            return before is not None and one.end == "answered" and one.first_ms >= hit_from

        def clean(one: Seen) -> bool:
            # All or none are hit where toxicity is 1, and then the fastest speaks for all.
            first_ms = trip if self.toxicity == 1.0 and before is not None else one.first_ms
            return one.end == "answered" and (first_ms <= clean_to or before is None)

        def past(one: Seen) -> bool:
            return one.end == "answered" and one.first_ms - floor <= delay_ms / 2

        said = f"the fastest round trip grew by {trip - floor:.1f} ms"
        return proof.judged(seen, Signs(hit, clean, past=past), self.toxicity, trip, "ms", said)

    @staticmethod
    def heal(world: World, undo: RemoveToxic) -> None:
        """Remove the toxic and read the proxy back; one that is gone already is fine."""
        proof.remove(world, undo)


FAULT = Latency
