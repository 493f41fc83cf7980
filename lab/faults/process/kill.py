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
    """Sends SIGKILL to the container's first process and leaves it dead until healed.

    The clock of recovery starts when the start is *issued*, so that a slow start counts against the target.
    """

    kind: ClassVar[str] = "kill"
    family: ClassVar[str] = "process"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")

    target: Service

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """Its life, and all that ends with it."""
        return death(topology, self.target)

    def prepare(self, world: World) -> StartContainer:
        """There must be something alive to kill."""
        state = living(world, self.target, "killing")
        return StartContainer(service=self.target, container_id=state.id)

    def inject(self, world: World, undo: StartContainer) -> None:
        """Kill exactly the container that was seen in `prepare`."""
        world.containers.kill(undo.service, undo.container_id)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when nothing runs and nothing answers past the proxies."""
        return lifeless(world, self.target, before, "")

    @staticmethod
    def heal(world: World, undo: StartContainer) -> None:
        """Start the killed container, which returns once its process exists; one that runs already is fine."""
        world.containers.start(undo.service, undo.container_id)


FAULT = Kill
