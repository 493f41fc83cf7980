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
    """Sends SIGTERM to the container's first process and leaves the container stopped until the fault is healed.

    If the process ignores the signal, the fault is void. The exit code says how it ended: 143 if the signal ended it,
    0 if it shut down in an orderly way.
    """

    kind: ClassVar[str] = "terminate"
    family: ClassVar[str] = "process"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")

    target: Service

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """The main process, and all that ends with it."""
        return death(topology, self.target)

    def prepare(self, world: World) -> StartContainer:
        """Raises FaultError where the service does not run."""
        return StartContainer(service=self.target, container_id=living(world, self.target, "terminating").id)

    def inject(self, world: World, undo: StartContainer) -> None:
        """Signal only the container that was seen in `prepare`, and do not wait for its end."""
        world.containers.terminate(undo.service, undo.container_id)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when the container has ended and nothing answers past the proxies."""
        ignored = "" if before is None else "; it ignored SIGTERM, or has not ended yet"
        return lifeless(world, self.target, before, ignored)

    @staticmethod
    def heal(world: World, undo: StartContainer) -> None:
        """Start the stopped container; a container that runs already is fine."""
        world.containers.start(undo.service, undo.container_id)


FAULT = Terminate
