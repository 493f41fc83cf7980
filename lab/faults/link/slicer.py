"""Cut data into small pieces that arrive one by one, as a bad radio link would."""

from dataclasses import dataclass
from statistics import median
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import BYTES, PACE
from lab.faults.link.proof import floor_of, least, transfer
from lab.faults.link.toxic import Direction, Link, Signs, Toxic, Toxicity
from lab.ports import Observation, World
from lab.ports.proxies import Comparison, Exchange, ExchangeResult

# The number of pieces that must be seen; with the least delay they take 80 ms together.
PIECES, PATIENCE_S = 40, 30.0
HIT_SHARE, CLEAN_SHARE = 0.8, 0.25


@dataclass(frozen=True, slots=True)
class Slicer(Toxic):
    """Passes data on in pieces of `average_size_bytes` plus or minus the variation, each followed by a pause.

    Source: Toxiproxy's `slicer` toxic; without a pause the kernel would join the pieces again.
    """

    kind: ClassVar[str] = "slicer"
    resources: ClassVar[tuple[str, ...]] = (PACE, BYTES)

    target: Link
    average_size_bytes: Annotated[int, Ge(8), Le(256)] = 64
    size_variation_bytes: Annotated[int, Ge(0), Le(128)] = 16
    delay_us: Annotated[int, Ge(2000), Le(50_000)] = 5000
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    def __post_init__(self) -> None:
        average, variation = self.average_size_bytes, self.size_variation_bytes
        if variation >= average:
            raise ValueError(
                f"size_variation_bytes {variation} is not less than average_size_bytes {average}"
            )

    @property
    def attributes(self) -> dict[str, int]:
        """In bytes and microseconds."""
        sizes = {"average_size": self.average_size_bytes, "size_variation": self.size_variation_bytes}
        return {**sizes, "delay": self.delay_us}

    @property
    def _largest(self) -> int:
        return self.average_size_bytes + self.size_variation_bytes

    @property
    def exchange(self) -> Exchange:
        """A transfer of forty pieces."""
        return transfer(self.direction, PIECES * self._largest, alone=True, timeout_s=PATIENCE_S)

    def signs(self, world: World, compared: Comparison, before: Observation | None) -> Signs:
        """Hit: the transfer takes the pauses of all its pieces longer, and arrives in pieces as small as promised."""
        down = self.direction == "downstream"
        took = least(result.last_ms for result in compared.through)
        floor = floor_of(before, (result.last_ms for result in compared.direct), took)

        def pauses_ms(result: ExchangeResult) -> float:
            return (result.received if down else result.sent) / self._largest * self.delay_us / 1000

        def hit(result: ExchangeResult) -> bool:
            small = not down or (bool(result.pieces) and median(result.pieces) <= self._largest)
            late = result.last_ms - floor >= HIT_SHARE * pauses_ms(result)
            return result.end == "answered" and small and late

        def clean(result: ExchangeResult) -> bool:
            return result.end == "answered" and result.last_ms - floor <= CLEAN_SHARE * pauses_ms(result)

        pieces = max(len(result.pieces) for result in compared.through)
        message = f"the fastest transfer took {took:.1f} ms, answers came in at most {pieces} pieces"
        return Signs(took, "ms", message, hit, clean)


FAULT = Slicer
