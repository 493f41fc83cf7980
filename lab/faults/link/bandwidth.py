"""Narrow a link, as a thin or crowded line would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import BYTES, PACE
from lab.faults.link.proof import transfer
from lab.faults.link.toxic import Direction, Link, Signs, Toxic, Toxicity
from lab.ports import Observation, World
from lab.ports.proxies import Comparison, Exchange, ExchangeResult

# At the cap a transfer takes half a second: the proof is short, and no single pause decides it.
TRANSFER_S, PATIENCE_S = 0.5, 10.0
OVER_CAP = 1.1
# A link that is not at least twice as fast without the cap cannot show the cap.
FREE_SHARE = 2.0


@dataclass(frozen=True, slots=True)
class Bandwidth(Toxic):
    """Passes on at most `rate_kb_per_s` (1000 bytes) a second and connection in one direction.

    Source: Toxiproxy's `bandwidth` toxic. The rate is bounded by what small answers, pipelined, can fill on either
    link.
    """

    kind: ClassVar[str] = "bandwidth"
    resources: ClassVar[tuple[str, ...]] = (PACE, BYTES)

    target: Link
    rate_kb_per_s: Annotated[int, Ge(2), Le(100)] = 20
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    @property
    def attributes(self) -> dict[str, int]:
        """In kB a second."""
        return {"rate": self.rate_kb_per_s}

    @property
    def exchange(self) -> Exchange:
        """A transfer of half a second's worth at the cap."""
        size = round(self.rate_kb_per_s * 1000 * TRANSFER_S)
        return transfer(self.direction, size, alone=True, timeout_s=PATIENCE_S)

    def signs(self, world: World, compared: Comparison, before: Observation | None) -> Signs:
        """Hit: the transfer arrives whole, and no faster than the cap. Clean: at least twice as fast."""
        cap = self.rate_kb_per_s * 1000.0

        def rate(result: ExchangeResult) -> float:
            moved = result.received if self.direction == "downstream" else result.sent
            return moved * 1000 / result.last_ms if result.end == "answered" else 0.0

        def hit(result: ExchangeResult) -> bool:
            return result.end == "answered" and rate(result) <= cap * OVER_CAP

        def clean(result: ExchangeResult) -> bool:
            return rate(result) >= cap * FREE_SHARE

        fastest = max(map(rate, compared.through))
        message = f"the fastest transfer made {fastest / 1000:.1f} kB/s, the cap is {self.rate_kb_per_s} kB/s"
        return Signs(fastest, "bytes/s", message, hit, clean)


FAULT = Bandwidth
