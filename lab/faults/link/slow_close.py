"""Let connections linger after their end, as a peer that closes late would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import ENDS
from lab.faults.link.looks import compared_max_s
from lab.faults.link.proof import (
    Direction,
    Link,
    Signs,
    Toxicity,
    add,
    floor_of,
    judged,
    least,
    remove,
    toxic_undo,
    tries,
)
from lab.model.undo import RemoveToxic
from lab.ports import Fault, Observation, World
from lab.ports.proxies import Exchange, Seen

# What a close may take without the fault, and by how much the fault's own clock may differ from ours.
CLEAN_SHARE = 0.25
CLOCK_MS = 5.0


@dataclass(frozen=True, slots=True)
class SlowClose(Fault):
    """Delays the close of each connection by `delay_ms`, in the direction in which it is passed on.

    `downstream` delays a close by the server, `upstream` one by the client; `toxicity` is the share of connections that
    are hit. Source: Toxiproxy's `slow_close` toxic.
    """

    kind: ClassVar[str] = "slow_close"
    family: ClassVar[str] = "link"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp")
    resources: ClassVar[tuple[str, ...]] = (ENDS,)

    target: Link
    delay_ms: Annotated[int, Ge(100), Le(60_000)] = 1000
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    @property
    def look_max_s(self) -> float:
        """Seconds that one look may take."""
        return compared_max_s(self._patience_s, self.toxicity)

    def prepare(self, world: World) -> RemoveToxic:
        """The proxy must exist and be enabled, else a toxic would change nothing."""
        return toxic_undo(world, self.target, self.kind, self.direction)

    def inject(self, world: World, undo: RemoveToxic) -> None:
        """Add the toxic under the name that the undo removes."""
        delay = self.delay_ms
        add(world, undo, kind="slow_close", direction=self.direction, toxicity=self.toxicity, delay=delay)

    @property
    def _patience_s(self) -> float:
        return 10.0 + self.delay_ms / 1000

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when a connection is answered at once and its end comes late by the delay."""
        what = Exchange(half_close=self.direction == "upstream", patience_s=self._patience_s)
        seen = world.proxies.compare(self.target, what, tries(self.toxicity))
        closing = least(one.closing_ms for one in seen.through)
        floor = floor_of(before, (one.closing_ms for one in seen.past), closing)

        def hit(one: Seen) -> bool:
            return (
                before is not None
                and one.end == "answered"
                and one.closing_ms - floor >= self.delay_ms - CLOCK_MS
            )

        def clean(one: Seen) -> bool:
            return one.end == "answered" and one.closing_ms <= self.delay_ms * CLEAN_SHARE

        said = f"the first close took {closing:.1f} ms"
        return judged(seen, Signs(hit, clean), self.toxicity, closing, "ms", said)

    @staticmethod
    def heal(world: World, undo: RemoveToxic) -> None:
        """Remove the toxic and read the proxy back; one that is gone already is fine."""
        remove(world, undo)


FAULT = SlowClose
