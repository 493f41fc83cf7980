"""Delay every answer from a service, as a slow or distant network would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.errors import FaultError
from lab.model.undo import RemoveToxic
from lab.ports import Observation, World

PROBES = 5
# Half of the promised delay gone is not healed: the toxic is either there or not, so a tenth is generous.
ABSENT_SHARE = 0.1
ABSENT_FLOOR_MS = 25.0
# What the fastest trip before may have been slower by than the fastest could be.
CLOCK_MS = 5.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Adds `latency_ms` plus or minus `jitter_ms` to what the target's proxy passes on in one direction.

    `mcp` is the link from the load to the MCP server, `qdrant` the link from the MCP server to Qdrant.
    Source: Toxiproxy's `latency` toxic. Its jitter cannot be seeded.
    """

    kind: ClassVar[str] = "latency"
    family: ClassVar[str] = "link"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp")
    needs: ClassVar[tuple[str, ...]] = ()

    target: Literal["qdrant", "mcp"]
    latency_ms: Annotated[int, Ge(50), Le(60_000)] = 300
    jitter_ms: Annotated[int, Ge(0), Le(30_000)] = 0
    direction: Literal["downstream", "upstream"] = "downstream"

    def __post_init__(self) -> None:
        # With more jitter the smallest promised delay is too small to be told from none.
        if self.jitter_ms > self.latency_ms / 2:
            raise ValueError(f"jitter_ms {self.jitter_ms} is more than half of latency_ms {self.latency_ms}")

    def prepare(self, world: World) -> RemoveToxic:
        """The proxy must exist and be enabled, else a toxic would change nothing."""
        world.proxies.require_enabled(self.target)
        return RemoveToxic(proxy=self.target, name=f"lab-latency-{self.direction}")

    def inject(self, world: World, undo: RemoveToxic) -> None:
        """Add the toxic under the name that the undo removes."""
        attributes = {"latency": self.latency_ms, "jitter": self.jitter_ms}
        world.proxies.add_toxic(
            undo.proxy, name=undo.name, kind="latency", stream=self.direction, attributes=attributes
        )

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when even the fastest of several round trips is slower by the smallest promised delay.

        The fastest, because a busy machine makes some trips slow on either side but none fast.
        """
        trips = world.proxies.round_trips_ms(self.target, PROBES)
        if len(trips) < PROBES:
            detail = f"{len(trips)} of {PROBES} round trips were answered"
            return Observation(min(trips, default=float("inf")), "ms", holds=False, absent=False, detail=detail)
        trip = min(trips)
        if before is None:
            return Observation(trip, "ms", holds=False, absent=True, detail=f"fastest of {PROBES} round trips")
        grew = trip - before.measured
        # Toxiproxy draws each delay from [latency - jitter, latency + jitter].
        holds = grew >= self.latency_ms - self.jitter_ms - CLOCK_MS
        absent = grew <= max(ABSENT_FLOOR_MS, ABSENT_SHARE * self.latency_ms)
        detail = f"the fastest of {PROBES} round trips grew by {grew:.1f} ms"
        return Observation(trip, "ms", holds, absent and not holds, detail)

    @staticmethod
    def heal(world: World, undo: RemoveToxic) -> None:
        """Remove the toxic and read the proxy back; one that is gone already is fine."""
        world.proxies.remove_toxic(undo.proxy, name=undo.name)
        if undo.name in world.proxies.toxics(undo.proxy):
            raise FaultError(f"the toxic {undo.name} is still on the proxy {undo.proxy!r} after its removal")


FAULT = Latency
