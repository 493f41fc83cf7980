"""The ports: one Protocol for each kind of effect on the outside world; `World` bundles those that a fault may use.

Adapters implement them with Docker, Toxiproxy, cgroups and namespaces. `tests/contract` runs the same tests against the
fakes and against the real adapters.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from lab.model.scenario import NOTHING, FaultFacts, OwnTraffic, routes_of_link, routes_of_network
from lab.model.topology import Topology
from lab.model.undo import Undo
from lab.ports.cgroups import Cgroups, CpuUsage
from lab.ports.containers import Containers, ContainerState, CpuQuota, MemoryLimit
from lab.ports.netns import Netns
from lab.ports.processes import Processes
from lab.ports.proxies import Proxies
from lab.ports.run import (
    CallOutcome,
    Clock,
    Guard,
    LoadGenerator,
    Mcp,
    Observer,
    Progress,
    Reachability,
    Recent,
    Recorder,
    Sink,
    TargetTraffic,
    TrafficSampler,
    UndoStore,
    Watchdog,
)
from lab.ports.storage import Storage

__all__ = [
    "CallOutcome",
    "Cgroups",
    "Clock",
    "ContainerState",
    "Containers",
    "CpuQuota",
    "CpuUsage",
    "Fault",
    "Guard",
    "LoadGenerator",
    "Mcp",
    "MemoryLimit",
    "Netns",
    "Observation",
    "Observer",
    "Processes",
    "Progress",
    "Proxies",
    "Reachability",
    "Recent",
    "Recorder",
    "Sink",
    "Storage",
    "TargetTraffic",
    "TrafficSampler",
    "UndoStore",
    "Watchdog",
    "World",
]


@dataclass(frozen=True, slots=True)
class Observation:
    """One measurement of a fault's effect.

    `holds` is true if the fault is in force as promised, `absent` if everything is as before the injection. Both can be
    false: a fault that is healed only in part does not hold and is not absent.
    """

    measured: float
    unit: str
    holds: bool
    absent: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a fault may act on, and the topology, which says what the stack consists of."""

    topology: Topology
    clock: Clock
    containers: Containers
    proxies: Proxies
    cgroups: Cgroups
    reach: Reachability
    netns: Netns
    processes: Processes
    storage: Storage
    traffic: TargetTraffic


class Fault(FaultFacts, Protocol):
    """A fault kind: a frozen dataclass that inherits from this, whose fields are its parameters.

    The parameters are validated strictly by their types. `family` groups kinds in lists, `services` are those that it
    can hit. What else a kind may state, with its default, is in `FaultFacts`.

    `prepare` returns the undo and changes nothing. `inject` acts. `observe` measures the effect; `before` is the
    observation from before the injection, None while that one is made. `heal` is idempotent and works from the undo
    alone, in another process. The effect of a `transient` fault passes by itself: it is observed that it happened, and
    its heal makes sure that nothing is left.

    `own_effect` is what a fault of a link or a network does to the target's own connections (`lab.model.traffic`): a
    part of its proof that the judge reads from the samples.
    """

    __slots__ = ()

    family: ClassVar[str]
    services: ClassVar[tuple[str, ...]]
    own_effect: ClassVar[str] = NOTHING

    def own_traffic(self, topology: Topology) -> OwnTraffic | None:
        """On which routes of the target the effect shows, and how; None where it shows on none."""
        routes = routes_of_network if self.family == "network" else routes_of_link
        return OwnTraffic(routes(topology, self.target), self.own_effect) if self.own_effect else None

    def prepare(self, world: World) -> Undo: ...
    def inject(self, world: World, undo: Any) -> None: ...
    def observe(self, world: World, before: Observation | None) -> Observation: ...
    @staticmethod
    def heal(world: World, undo: Any) -> None: ...
