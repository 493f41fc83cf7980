"""Drop all data on a link silently, as a black hole would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import LINK
from lab.faults.link.proof import least
from lab.faults.link.toxic import Direction, Link, Signs, Toxic, Toxicity
from lab.ports import Observation, World
from lab.ports.proxies import Comparison, Exchange, ExchangeResult

# How long an answer is waited for before it counts as dropped; a healthy answer comes within half of it.
WINDOW_MS = 1000.0
CLOCK_MS = 5.0


@dataclass(frozen=True, slots=True)
class Timeout(Toxic):
    """Passes nothing on in one direction; connections are accepted, and closed after `timeout_ms` where that is not 0.

    With 0 they stay open and silent until the fault is healed, which closes them. Source: Toxiproxy's `timeout` toxic.
    """

    kind: ClassVar[str] = "timeout"
    resources: ClassVar[tuple[str, ...]] = LINK

    target: Link
    timeout_ms: Annotated[int, Ge(0), Le(60_000)] = 0
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    @property
    def attributes(self) -> dict[str, int]:
        """In milliseconds."""
        return {"timeout": self.timeout_ms}

    @property
    def exchange(self) -> Exchange:
        """One small request, half closed by the client, because the toxic does pass on the server's own close."""
        return Exchange(half_close=True, timeout_s=(self.timeout_ms + WINDOW_MS) / 1000)

    def signs(self, world: World, compared: Comparison, before: Observation | None) -> Signs:
        """Hit: the connect succeeds and not one byte comes, until the window or the timeout is over."""

        def hit(result: ExchangeResult) -> bool:
            if result.received or not result.sent:
                return False
            if self.timeout_ms == 0:
                return result.end == "silent"
            return result.end in ("closed", "reset") and result.ended_ms >= self.timeout_ms - CLOCK_MS

        def clean(result: ExchangeResult) -> bool:
            return result.end == "answered" and result.first_ms <= WINDOW_MS / 2

        first = least(result.first_ms for result in compared.through)
        return Signs(first, "ms", f"the first byte came after {first:.1f} ms", hit, clean)


FAULT = Timeout
