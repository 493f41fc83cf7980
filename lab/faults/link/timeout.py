"""Swallow all data on a link, as a black hole would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import LINK
from lab.faults.link.looks import compared_max_s
from lab.faults.link.proof import (
    Direction,
    Link,
    Signs,
    Toxicity,
    add,
    judged,
    least,
    remove,
    toxic_undo,
    tries,
)
from lab.model.undo import RemoveToxic
from lab.ports import Fault, Observation, World
from lab.ports.proxies import Exchange, Seen

# How long an answer is waited for before it counts as swallowed; a healthy one comes within half of it.
WINDOW_MS = 1000.0
CLOCK_MS = 5.0


@dataclass(frozen=True, slots=True)
class Timeout(Fault):
    """Passes nothing on in one direction; connections are accepted, and closed after `timeout_ms` where that is not 0.

    With 0 they stay open and silent until the fault is healed, which closes them. `toxicity` is the share of
    connections that are hit. Source: Toxiproxy's `timeout` toxic.
    """

    kind: ClassVar[str] = "timeout"
    family: ClassVar[str] = "link"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp")
    resources: ClassVar[tuple[str, ...]] = LINK

    target: Link
    timeout_ms: Annotated[int, Ge(0), Le(60_000)] = 0
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
        timeout = self.timeout_ms
        add(world, undo, kind="timeout", direction=self.direction, toxicity=self.toxicity, timeout=timeout)

    @property
    def _patience_s(self) -> float:
        return (self.timeout_ms + WINDOW_MS) / 1000

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when the connect succeeds and not one byte comes, until the window or the time-out is over."""
        # Half closed by the asker, for the toxic does pass on the server's own close.
        what = Exchange(half_close=True, patience_s=self._patience_s)
        seen = world.proxies.compare(self.target, what, tries(self.toxicity))

        def hit(one: Seen) -> bool:
            if before is None or one.received or not one.sent:
                return False
            if self.timeout_ms == 0:
                return one.end == "silent"
            return one.end in ("closed", "reset") and one.ended_ms >= self.timeout_ms - CLOCK_MS

        def clean(one: Seen) -> bool:
            return one.end == "answered" and one.first_ms <= WINDOW_MS / 2

        first = least(one.first_ms for one in seen.through)
        said = f"the first byte came after {first:.1f} ms"
        return judged(seen, Signs(hit, clean), self.toxicity, first, "ms", said)

    @staticmethod
    def heal(world: World, undo: RemoveToxic) -> None:
        """Remove the toxic and read the proxy back; one that is gone already is fine."""
        remove(world, undo)


FAULT = Timeout
