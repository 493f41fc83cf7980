"""Kill a service's process with SIGKILL; the heal starts the same container again."""

from dataclasses import dataclass
from typing import ClassVar

from lab.faults.conflicts import death
from lab.faults.process.proof import Service, lifeless
from lab.faults.proof import living
from lab.model.scenario import Claim
from lab.model.topology import Topology
from lab.model.undo import StartContainer
from lab.ports import Fault, Observation, World


@dataclass(frozen=True, slots=True)
class Kill(Fault):
    """Sends SIGKILL to the container's first process and leaves it dead until the fault is healed.

    The clock of the recovery runs from the moment when the start was *issued*, so a slow start counts as recovery time.
    """

    kind: ClassVar[str] = "kill"
    family: ClassVar[str] = "process"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")

    target: Service

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """The main process, and all that ends with it."""
        return death(topology, self.target)

    def prepare(self, world: World) -> StartContainer:
        """Raises FaultError where the service does not run."""
        state = living(world, self.target, "killing")
        return StartContainer(service=self.target, container_id=state.id)

    def inject(self, world: World, undo: StartContainer) -> None:
        """Kill only the container that was seen in `prepare`."""
        world.containers.kill(undo.service, undo.container_id)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when the container does not run and nothing answers past the proxies."""
        return lifeless(world, self.target, before, "")

    @staticmethod
    def heal(world: World, undo: StartContainer) -> None:
        """Start the killed container and return once its process exists; a container that runs already is fine."""
        world.containers.start(undo.service, undo.container_id)


FAULT = Kill
