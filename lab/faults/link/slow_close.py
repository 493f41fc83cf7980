"""Delay the close of connections, as a peer that closes late would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import ENDS
from lab.faults.link.proof import floor_of, least
from lab.faults.link.toxic import Direction, Link, Signs, Toxic, Toxicity
from lab.ports import Observation, World
from lab.ports.proxies import Comparison, Exchange, ExchangeResult

# The share of the delay that a close may take without the fault, and how far the fault's clock may differ from ours.
CLEAN_SHARE = 0.25
CLOCK_MS = 5.0


@dataclass(frozen=True, slots=True)
class SlowClose(Toxic):
    """Delays the close of each connection by `delay_ms`, in the direction in which it is passed on.

    `downstream` delays a close by the server, `upstream` one by the client. Source: Toxiproxy's `slow_close` toxic.
    """

    kind: ClassVar[str] = "slow_close"
    resources: ClassVar[tuple[str, ...]] = (ENDS,)

    target: Link
    delay_ms: Annotated[int, Ge(100), Le(60_000)] = 1000
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    @property
    def attributes(self) -> dict[str, int]:
        """In milliseconds."""
        return {"delay": self.delay_ms}

    @property
    def exchange(self) -> Exchange:
        """One small request, closed first by the side whose close is delayed."""
        return Exchange(half_close=self.direction == "upstream", timeout_s=10.0 + self.delay_ms / 1000)

    def signs(self, world: World, compared: Comparison, before: Observation | None) -> Signs:
        """Hit: the connection is answered at once, and its end comes late by the delay."""
        closing = least(result.closing_ms for result in compared.through)
        floor = floor_of(before, (result.closing_ms for result in compared.direct), closing)

        def hit(result: ExchangeResult) -> bool:
            return result.end == "answered" and result.closing_ms - floor >= self.delay_ms - CLOCK_MS

        def clean(result: ExchangeResult) -> bool:
            return result.end == "answered" and result.closing_ms <= self.delay_ms * CLEAN_SHARE

        return Signs(closing, "ms", f"the first close took {closing:.1f} ms", hit, clean)


FAULT = SlowClose
