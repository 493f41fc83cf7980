"""Delay every answer from a service, as a slow or distant network would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import PACE
from lab.faults.link.proof import floor_of, least
from lab.faults.link.toxic import Direction, Link, Signs, Toxic, Toxicity
from lab.ports import Observation, World
from lab.ports.proxies import Comparison, Exchange, ExchangeResult

# A toxic is either present or absent, so a tolerance of a tenth is ample. If half of the delay remains, it is not
# healed.
ABSENT_SHARE = 0.1
ABSENT_FLOOR_MS = 25.0
# By how much the fastest trip before may have been slower than the fastest possible one.
CLOCK_MS = 5.0


@dataclass(frozen=True, slots=True)
class Latency(Toxic):
    """Adds `latency_ms` plus or minus `jitter_ms` to what the target's proxy passes on in one direction.

    `mcp` is the link from the load to the MCP server, `qdrant` the link from the MCP server to Qdrant. Source:
    Toxiproxy's `latency` toxic. Its jitter cannot be seeded.
    """

    kind: ClassVar[str] = "latency"
    resources: ClassVar[tuple[str, ...]] = (PACE,)

    target: Link
    latency_ms: Annotated[int, Ge(50), Le(60_000)] = 300
    jitter_ms: Annotated[int, Ge(0), Le(30_000)] = 0
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    def __post_init__(self) -> None:
        # With more jitter the smallest promised delay is too small to be distinguished from none.
        if self.jitter_ms > self.latency_ms / 2:
            raise ValueError(f"jitter_ms {self.jitter_ms} is more than half of latency_ms {self.latency_ms}")

    @property
    def attributes(self) -> dict[str, int]:
        """In milliseconds."""
        return {"latency": self.latency_ms, "jitter": self.jitter_ms}

    @property
    def exchange(self) -> Exchange:
        """One small request."""
        return Exchange(timeout_s=10.0 + 2 * (self.latency_ms + self.jitter_ms) / 1000)

    def signs(self, world: World, compared: Comparison, before: Observation | None) -> Signs:
        """Hit: the answer is later by the smallest promised delay. Past the proxy none is late by half of that."""
        trip = least(result.first_ms for result in compared.through)
        floor = floor_of(before, (result.first_ms for result in compared.direct), trip)
        # Toxiproxy draws each delay from [latency - jitter, latency + jitter].
        delay_ms = self.latency_ms - self.jitter_ms
        clean_to = floor + max(ABSENT_FLOOR_MS, ABSENT_SHARE * self.latency_ms)

        def hit(result: ExchangeResult) -> bool:
            return result.end == "answered" and result.first_ms >= floor + delay_ms - CLOCK_MS

        def clean(result: ExchangeResult) -> bool:
            # With a toxicity of 1 all or none are hit, so the fastest decides for all.
            first_ms = trip if self.toxicity == 1.0 and before is not None else result.first_ms
            return result.end == "answered" and (first_ms <= clean_to or before is None)

        def direct(result: ExchangeResult) -> bool:
            return result.end == "answered" and result.first_ms - floor <= delay_ms / 2

        message = f"the fastest round trip grew by {trip - floor:.1f} ms"
        return Signs(trip, "ms", message, hit, clean, direct=direct)


FAULT = Latency
