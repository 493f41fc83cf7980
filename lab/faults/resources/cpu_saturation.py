"""Burn CPU inside a service's own CPU cgroup, as a runaway thread would."""

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

# A burner runs, or waits to run, all the time. Its two counters are read one after the other, which costs some share.
DEMANDED = 0.8
# The cgroup's counter is read at another time than the burners' own counters.
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
        """The CPU; and the links, because a Toxiproxy that is short of CPU is slow on every link."""
        return claims(self.target, BURNERS) | carried(topology, self.target, (PACE,))

    def prepare(self, world: World) -> EndProcesses:
        """Raises FaultError where the service does not run."""
        living(world, self.target, "saturating")
        return EndProcesses(world.processes.new_token(self.kind))

    def inject(self, world: World, undo: EndProcesses) -> None:
        """Start the burners; returns once they are in the cgroup."""
        state = living(world, self.target, "saturating")
        world.processes.burn(world.containers, state, undo.token, self.burners, LIFETIME_S)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when the burners are runnable all the time, and the cgroup is charged with what they got.

        What they get depends on the other load of the machine; that they are runnable does not.
        """
        state = world.containers.state(self.target)
        if not state.running:
            return Observation(0.0, "cores", holds=False, absent=False, detail="the container does not run")
        burning = world.processes.cpu_load(world.containers, state)
        demanded = burning.burners >= self.burners and burning.wanted >= DEMANDED * self.burners
        charged = burning.got > 0 and burning.total >= COUNTED * burning.got
        detail = f"{burning.burners} burners wanted {burning.wanted:.2f} cores and got {burning.got:.2f}"
        holds = before is not None and demanded and charged
        return Observation(burning.total, "cores", holds, absent=burning.burners == 0, detail=detail)

    @staticmethod
    def heal(world: World, undo: EndProcesses) -> None:
        """End the burners, in whatever container; where there are none, that is fine."""
        world.processes.end(undo.token)


FAULT = CpuSaturation
