"""The generic toxic: one toxic on one Toxiproxy proxy, proven by connections through the proxy and past it.

A kind of toxic states what differs: its parameters, Toxiproxy's `attributes`, the `exchange` that shows the effect, and
the `signs` by which a connection that was hit differs from one that was not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol

from annotated_types import Ge, Le

from lab.errors import FaultError
from lab.faults.link.proof import compared_max_s, connections_needed
from lab.faults.proof import plausible
from lab.model.scenario import CROSSES, DISTURBS, OwnTraffic, routes_of_link
from lab.model.topology import Topology
from lab.model.undo import RemoveToxic
from lab.ports import Fault, Observation, World
from lab.ports.proxies import Comparison, Exchange, ExchangeResult

# Shared by the toxics: no fault of its own.
FAULT = None
Link = Literal["qdrant", "mcp"]
Direction = Literal["downstream", "upstream"]
# Toxiproxy decides once for each connection. Below 0.2, one observation would need more than 31 connections.
Toxicity = Annotated[float, Ge(0.2), Le(1.0)]


@dataclass(frozen=True, slots=True)
class Signs:
    """What was measured, and how a connection that was hit differs from a clean one.

    A connection may be neither, and then nothing is proven. `spared` describes a connection that a toxic in force
    did not hit, and `direct` one that goes past the proxy at the same time; both default to `clean`.
    """

    measured: float
    unit: str
    message: str
    hit: Callable[[ExchangeResult], bool]
    clean: Callable[[ExchangeResult], bool]
    spared: Callable[[ExchangeResult], bool] | None = None
    direct: Callable[[ExchangeResult], bool] | None = None


class Toxic(Fault, Protocol):
    """A fault that is one toxic. `toxicity` is the share of the connections that it hits."""

    __slots__ = ()

    family: ClassVar[str] = "link"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp")

    direction: Direction
    toxicity: Toxicity

    @property
    def attributes(self) -> dict[str, int]:
        """Toxiproxy's own names for the parameters."""
        ...

    @property
    def exchange(self) -> Exchange:
        """What is asked on each connection of an observation."""
        ...

    def signs(self, world: World, compared: Comparison, before: Observation | None) -> Signs:
        """How to recognize a connection that was hit; `before` is None while nothing is injected."""
        ...

    @property
    def look_max_s(self) -> float:
        """The longest time in seconds that one observation may take."""
        return compared_max_s(self.exchange, self.toxicity)

    def own_traffic(self, topology: Topology) -> OwnTraffic:
        """What the target sends meets the toxic; what it is sent may not arrive before the toxic is gone."""
        arrives = self.target == topology.target.name and self.direction == "upstream"
        return OwnTraffic(routes_of_link(topology, self.target), DISTURBS if arrives else CROSSES)

    def prepare(self, world: World) -> RemoveToxic:
        """Raises FaultError where the proxy is disabled, because the toxic would then change nothing."""
        world.proxies.require_enabled(self.target)
        return RemoveToxic(self.target, f"lab-{self.kind.replace('_', '-')}-{self.direction}")

    def inject(self, world: World, undo: RemoveToxic) -> None:
        """Add the toxic under the name that the undo removes."""
        world.proxies.add_toxic(
            undo.proxy,
            name=undo.name,
            kind=self.kind,
            stream=self.direction,
            attributes=self.attributes,
            toxicity=self.toxicity,
        )

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when a plausible number is hit, and all others are clean, also those past the proxy.

        A service that hangs or is slow looks the same through the proxy and past it, and proves nothing. Absent when
        every connection through the proxy is clean.
        """
        compared = world.proxies.compare(self.target, self.exchange, connections_needed(self.toxicity))
        signs = self.signs(world, compared, before)
        through, direct = compared.through, compared.direct
        hit = [result for result in through if before is not None and signs.hit(result)]
        others = [result for result in through if result not in hit]
        clean = sum(map(signs.clean, others))
        spared = sum(map(signs.spared or signs.clean, others))
        direct_clean = sum(map(signs.direct or signs.clean, direct))
        holds = spared == len(others) and plausible(len(hit), len(through), self.toxicity)
        holds = holds and 0 < direct_clean == len(direct)
        detail = f"{signs.message}; of {len(through)} new connections {len(hit)} hit, {clean} clean ({_ends(through)})"
        detail += f"; past the proxy {direct_clean} of {len(direct)} clean ({_ends(direct)})"
        return Observation(signs.measured, signs.unit, holds, clean == len(through) and not holds, detail)

    @staticmethod
    def heal(world: World, undo: RemoveToxic) -> None:
        """Remove the toxic and read that back; a toxic that is gone already is fine."""
        world.proxies.remove_toxic(undo.proxy, name=undo.name)
        if undo.name in world.proxies.toxics(undo.proxy):
            raise FaultError(
                f"the toxic {undo.name} is still on the proxy {undo.proxy!r} after its removal",
                try_="`lab heal`; restarting the toxiproxy container clears all toxics",
            )


def _ends(results: Sequence[ExchangeResult]) -> str:
    ends = [result.end for result in results]
    return ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends)) or "none asked"
