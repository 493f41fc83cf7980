"""Reset connections, as a peer that crashed or a strict firewall would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import LINK
from lab.faults.link.looks import compared_max_s
from lab.faults.link.proof import Direction, Link, Signs, Toxicity, add, judged, remove, toxic_undo, tries
from lab.model.undo import RemoveToxic
from lab.ports import Fault, Observation, World
from lab.ports.proxies import Exchange, Seen

CLOCK_MS = 5.0


@dataclass(frozen=True, slots=True)
class ResetPeer(Fault):
    """Resets (RST) every new connection `delay_ms` after its first data in one direction, and every open one at once.

    `toxicity` is the share of new connections that are hit; open ones are all reset when the fault is injected.
    Source: Toxiproxy's `reset_peer` toxic, which ends spared connections with a reset too, after their answers. It
    gives open ones an orderly close only: so these are reset on Toxiproxy's own sockets (root, Linux 5.6).
    """

    kind: ClassVar[str] = "reset_peer"
    family: ClassVar[str] = "link"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp")
    needs: ClassVar[tuple[str, ...]] = ("root",)
    resources: ClassVar[tuple[str, ...]] = LINK

    target: Link
    delay_ms: Annotated[int, Ge(0), Le(60_000)] = 0
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    @property
    def look_max_s(self) -> float:
        """Seconds that one look may take."""
        return compared_max_s(self._patience_s, self.toxicity)

    def prepare(self, world: World) -> RemoveToxic:
        """The proxy must exist and be enabled; opens the connection on which the reset of open ones is seen."""
        world.proxies.keep_open(self.target)
        return toxic_undo(world, self.target, self.kind, self.direction)

    def inject(self, world: World, undo: RemoveToxic) -> None:
        """Add the toxic under the name that the undo removes."""
        delay = self.delay_ms
        # The toxic first: who was reset comes back at once, and must not find the link healthy.
        add(world, undo, kind="reset_peer", direction=self.direction, toxicity=self.toxicity, timeout=delay)
        world.proxies.reset_open(undo.proxy)

    @property
    def _patience_s(self) -> float:
        return 10.0 + self.delay_ms / 1000

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when new connections are reset before any answer, and the one that was open before was reset."""
        what = Exchange(patience_s=self._patience_s)
        seen = world.proxies.compare(self.target, what, tries(self.toxicity))
        kept = world.proxies.kept_end(self.target)

        def hit(one: Seen) -> bool:
            late_enough = one.ended_ms >= self.delay_ms - CLOCK_MS
            return before is not None and kept == "reset" and _is_reset(one) and late_enough

        def clean(one: Seen) -> bool:
            return one.end == "answered"

        def spared(one: Seen) -> bool:
            # While the toxic is there, Toxiproxy ends every connection with a reset; a spared one after its answer.
            return one.end in ("answered", "reset") and one.received > 0

        share = sum(_is_reset(one) for one in seen.through) / len(seen.through)
        said = f"the connection that was open before: {kept or 'still open, or there was none'}"
        return judged(seen, Signs(hit, clean, spared), self.toxicity, share, "share of connections", said)

    @staticmethod
    def heal(world: World, undo: RemoveToxic) -> None:
        """Remove the toxic and read the proxy back; one that is gone already is fine."""
        remove(world, undo)


def _is_reset(one: Seen) -> bool:
    return one.end == "reset" and one.received == 0


FAULT = ResetPeer
