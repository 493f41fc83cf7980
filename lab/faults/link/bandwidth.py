"""Narrow a link, as a thin or crowded line would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import BYTES, PACE
from lab.faults.link.looks import compared_max_s
from lab.faults.link.proof import (
    Direction,
    Link,
    Signs,
    Toxicity,
    add,
    judged,
    remove,
    toxic_undo,
    transfer,
    tries,
)
from lab.model.undo import RemoveToxic
from lab.ports import Fault, Observation, World
from lab.ports.proxies import Seen

# A transfer takes half a second at the cap, so that the proof is short and no single pause decides it.
TRANSFER_S, PATIENCE_S = 0.5, 10.0
OVER_CAP = 1.1
# A link that is not at least twice as fast without the cap cannot show the cap.
FREE_SHARE = 2.0


@dataclass(frozen=True, slots=True)
class Bandwidth(Fault):
    """Passes on at most `rate_kb_per_s` (1000 bytes) a second and connection in one direction.

    `toxicity` is the share of connections that are hit. Source: Toxiproxy's `bandwidth` toxic. The rate is bounded by
    what small answers, pipelined, can fill on either link.
    """

    kind: ClassVar[str] = "bandwidth"
    family: ClassVar[str] = "link"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp")
    resources: ClassVar[tuple[str, ...]] = (PACE, BYTES)

    target: Link
    rate_kb_per_s: Annotated[int, Ge(2), Le(100)] = 20
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    @property
    def look_max_s(self) -> float:
        """Seconds that one look may take."""
        return compared_max_s(PATIENCE_S, self.toxicity, alone=True)

    def prepare(self, world: World) -> RemoveToxic:
        """The proxy must exist and be enabled, else a toxic would change nothing."""
        return toxic_undo(world, self.target, self.kind, self.direction)

    def inject(self, world: World, undo: RemoveToxic) -> None:
        """Add the toxic under the name that the undo removes."""
        rate = self.rate_kb_per_s
        add(world, undo, kind="bandwidth", direction=self.direction, toxicity=self.toxicity, rate=rate)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when a transfer of half a second's worth at the cap arrives whole, and no faster than the cap."""
        cap = self.rate_kb_per_s * 1000.0
        size = round(cap * TRANSFER_S)
        what = transfer(self.direction, size, alone=True, patience_s=PATIENCE_S)
        seen = world.proxies.compare(self.target, what, tries(self.toxicity))

        def rate(one: Seen) -> float:
            moved = one.received if self.direction == "downstream" else one.sent
            return moved * 1000 / one.last_ms if one.end == "answered" else 0.0

        def hit(one: Seen) -> bool:
            return before is not None and one.end == "answered" and rate(one) <= cap * OVER_CAP

        def clean(one: Seen) -> bool:
            return rate(one) >= cap * FREE_SHARE

        fastest = max(rate(one) for one in seen.through)
        said = f"the fastest transfer made {fastest / 1000:.1f} kB/s, the cap is {self.rate_kb_per_s} kB/s"
        return judged(seen, Signs(hit, clean), self.toxicity, fastest, "bytes/s", said)

    @staticmethod
    def heal(world: World, undo: RemoveToxic) -> None:
        """Remove the toxic and read the proxy back; one that is gone already is fine."""
        remove(world, undo)


FAULT = Bandwidth
