"""Cut data into small pieces that arrive one by one, as a bad radio link would."""

from dataclasses import dataclass
from statistics import median
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import BYTES, PACE
from lab.faults.link import proof
from lab.faults.link.looks import compared_max_s
from lab.faults.link.proof import Direction, Link, Signs, Toxicity
from lab.model.undo import RemoveToxic
from lab.ports import Fault, Observation, World
from lab.ports.proxies import Seen

# So many pieces must be seen; with the least delay they take 80 ms together.
PIECES, PATIENCE_S = 40, 30.0
HIT_SHARE, CLEAN_SHARE = 0.8, 0.25


@dataclass(frozen=True, slots=True)
class Slicer(Fault):
    """Passes data on in pieces of `average_size_bytes` plus or minus the variation, each followed by a pause.

    `toxicity` is the share of connections that are hit. Source: Toxiproxy's `slicer` toxic; without a pause the kernel
    would join the pieces again.
    """

    kind: ClassVar[str] = "slicer"
    family: ClassVar[str] = "link"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp")
    resources: ClassVar[tuple[str, ...]] = (PACE, BYTES)

    target: Link
    average_size_bytes: Annotated[int, Ge(8), Le(256)] = 64
    size_variation_bytes: Annotated[int, Ge(0), Le(128)] = 16
    delay_us: Annotated[int, Ge(2000), Le(50_000)] = 5000
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    def __post_init__(self) -> None:
        if self.size_variation_bytes >= self.average_size_bytes:
            raise ValueError(
                f"size_variation_bytes {self.size_variation_bytes} is not less than average_size_bytes"
                f" {self.average_size_bytes}"
            )

    @property
    def look_max_s(self) -> float:
        """Seconds that one look may take."""
        return compared_max_s(PATIENCE_S, self.toxicity, alone=True)

    def prepare(self, world: World) -> RemoveToxic:
        """The proxy must exist and be enabled, else a toxic would change nothing."""
        return proof.toxic_undo(world, self.target, self.kind, self.direction)

    def inject(self, world: World, undo: RemoveToxic) -> None:
        """Add the toxic under the name that the undo removes."""
        sizes = {"average_size": self.average_size_bytes, "size_variation": self.size_variation_bytes}
        hits, delay = self.toxicity, self.delay_us
        proof.add(world, undo, kind="slicer", direction=self.direction, toxicity=hits, delay=delay, **sizes)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when a transfer takes the pauses of all its pieces longer, and arrives in as small pieces."""
        largest = self.average_size_bytes + self.size_variation_bytes
        down = self.direction == "downstream"
        what = proof.transfer(self.direction, PIECES * largest, alone=True, patience_s=PATIENCE_S)
        seen = world.proxies.compare(self.target, what, proof.tries(self.toxicity))
        took = proof.least(one.last_ms for one in seen.through)
        floor = proof.floor_of(before, (one.last_ms for one in seen.past), took)

        def pauses_ms(one: Seen) -> float:
            return (one.received if down else one.sent) / largest * self.delay_us / 1000

        def hit(one: Seen) -> bool:
            small = not down or (bool(one.pieces) and median(one.pieces) <= largest)
            late = one.last_ms - floor >= HIT_SHARE * pauses_ms(one)
            return before is not None and one.end == "answered" and small and late

        def clean(one: Seen) -> bool:
            return one.end == "answered" and one.last_ms - floor <= CLEAN_SHARE * pauses_ms(one)

        pieces = max(len(one.pieces) for one in seen.through)
        said = f"the fastest transfer took {took:.1f} ms, answers came in at most {pieces} pieces"
        return proof.judged(seen, Signs(hit, clean), self.toxicity, took, "ms", said)

    @staticmethod
    def heal(world: World, undo: RemoveToxic) -> None:
        """Remove the toxic and read the proxy back; one that is gone already is fine."""
        proof.remove(world, undo)


FAULT = Slicer
