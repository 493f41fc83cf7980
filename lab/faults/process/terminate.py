"""Ask a service to end with SIGTERM, as an orderly shutdown does; the heal starts the same container again."""

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
class Terminate(Fault):
    """Sends SIGTERM to the container's first process and leaves it ended until healed.

    A process that ignores the signal leaves the fault void. The exit code says what became of it: 143 for one that the
    signal ended, 0 for one that shut down by itself.
    """

    kind: ClassVar[str] = "terminate"
    family: ClassVar[str] = "process"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")

    target: Service

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """Its life, and all that ends with it."""
        return death(topology, self.target)

    def prepare(self, world: World) -> StartContainer:
        """There must be something alive to end."""
        return StartContainer(service=self.target, container_id=living(world, self.target, "terminating").id)

    def inject(self, world: World, undo: StartContainer) -> None:
        """Signal exactly the container that was seen in `prepare`; does not wait for its end."""
        world.containers.terminate(undo.service, undo.container_id)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when the container has ended and nothing answers past the proxies."""
        ignored = "" if before is None else "; after a SIGTERM that means ignored, or not yet obeyed"
        return lifeless(world, self.target, before, ignored)

    @staticmethod
    def heal(world: World, undo: StartContainer) -> None:
        """Start the ended container; one that runs already is fine."""
        world.containers.start(undo.service, undo.container_id)


FAULT = Terminate
