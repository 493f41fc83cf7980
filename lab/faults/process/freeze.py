"""Freeze all processes of a service: it still accepts connections, and answers nothing."""

from dataclasses import dataclass
from typing import ClassVar

from lab.faults.conflicts import LIFE, carried
from lab.faults.process.proof import Service
from lab.faults.proof import living
from lab.model.scenario import Claim, claims
from lab.model.topology import Topology
from lab.model.undo import Unpause
from lab.ports import Fault, Observation, World

PROBES = 2
# A healthy service answers its health address within milliseconds; a frozen one uses up the timeout of each probe.
TIMEOUT_S = 0.3


@dataclass(frozen=True, slots=True)
class Freeze(Fault):
    """Pauses the container through the kernel's freezer: TCP connects still succeed, requests get no answer.

    Source of the mechanism: kernel documentation, cgroup-v1/freezer-subsystem and cgroup-v2 (`cgroup.freeze`).
    """

    kind: ClassVar[str] = "freeze"
    family: ClassVar[str] = "process"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")

    target: Service

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """The main process; and its links, because no toxic can be added or removed while Toxiproxy is frozen."""
        return claims(self.target, LIFE) | carried(topology, self.target)

    def prepare(self, world: World) -> Unpause:
        """Raises FaultError where it does not run, or where somebody else froze it: the heal would undo that."""
        return Unpause(service=self.target, container_id=living(world, self.target, "freezing").id)

    def inject(self, world: World, undo: Unpause) -> None:
        """Freeze exactly the container that was seen in `prepare`."""
        world.containers.pause(undo.service, undo.container_id)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when the container is frozen and requests past the proxies get no answer in time."""
        state = world.containers.state(self.target)
        answered = sum(world.reach.answers(self.target, timeout_s=TIMEOUT_S) for _ in range(PROBES))
        holds = before is not None and state.running and state.paused and answered == 0
        absent = state.running and not state.paused and answered == PROBES
        condition = "is frozen" if state.paused else "runs" if state.running else "is dead"
        unit = "share of health requests answered"
        return Observation(answered / PROBES, unit, holds, absent, f"container {condition}")

    @staticmethod
    def heal(world: World, undo: Unpause) -> None:
        """Thaw it; a container that is not frozen, or was killed meanwhile, is left as it is."""
        world.containers.unpause(undo.service, undo.container_id)


FAULT = Freeze
