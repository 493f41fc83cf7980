"""Burn CPU inside a service's own CPU cgroup, as a runaway thread of it would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.faults.conflicts import BURNERS, PACE, carried
from lab.faults.proof import living
from lab.model.scenario import Claim, claims
from lab.model.topology import Topology
from lab.model.undo import EndProcesses
from lab.ports import Fault, Observation, World
from lab.ports.processes import LIFETIME_S

# A burner runs or waits to run all the time; two readings that are not of one moment cost some of it.
DEMANDED = 0.8
# The cgroup's counter is read at another moment than the burners' own.
COUNTED = 0.8


@dataclass(frozen=True, slots=True)
class CpuSaturation(Fault):
    """Runs `burners` processes, each of which wants one core all the time, inside the container's CPU cgroup.

    They compete with the service for its share and its quota. They end by themselves after 30 min.
    """

    kind: ClassVar[str] = "cpu_saturation"
    family: ClassVar[str] = "resources"
    services: ClassVar[tuple[str, ...]] = ("mcp", "qdrant", "toxiproxy")
    needs: ClassVar[tuple[str, ...]] = ("cgroup_cpu", "root")
    lifetime_s: ClassVar[float] = LIFETIME_S

    target: Literal["mcp", "qdrant", "toxiproxy"]
    burners: Annotated[int, Ge(1), Le(16)] = 2

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """What it writes; and a Toxiproxy that is short of CPU is slow on every link."""
        return claims(self.target, BURNERS) | carried(topology, self.target, (PACE,))

    def prepare(self, world: World) -> EndProcesses:
        """There must be something to compete with."""
        living(world, self.target, "saturating")
        return EndProcesses(world.processes.new_token(self.kind))

    def inject(self, world: World, undo: EndProcesses) -> None:
        """Start the burners; returns once they are in the cgroup."""
        state = living(world, self.target, "saturating")
        world.processes.burn(world.containers, state, undo.token, self.burners, LIFETIME_S)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when the burners want all their cores and the cgroup is charged with what they got.

        What they get depends on who else is busy; that they are runnable all the time does not.
        """
        state = world.containers.state(self.target)
        if not state.running:
            return Observation(0.0, "cores", holds=False, absent=False, detail="the container does not run")
        seen = world.processes.burning(world.containers, state)
        demanded = seen.burners >= self.burners and seen.wanted >= DEMANDED * self.burners
        charged = seen.got > 0 and seen.total >= COUNTED * seen.got
        detail = f"{seen.burners} burners wanted {seen.wanted:.2f} cores and got {seen.got:.2f}"
        holds = before is not None and demanded and charged
        return Observation(seen.total, "cores", holds, absent=seen.burners == 0, detail=detail)

    @staticmethod
    def heal(world: World, undo: EndProcesses) -> None:
        """End the burners, wherever they are; none is fine."""
        world.processes.end(undo.token)


FAULT = CpuSaturation
