"""Freeze all processes of a service: connections still open, and nobody answers."""

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
# A healthy service answers its health address within milliseconds; each probe of a frozen one costs this much.
TIMEOUT_S = 0.3


@dataclass(frozen=True, slots=True)
class Freeze(Fault):
    """Pauses the container through the kernel's freezer: TCP still connects, requests get no answer.

    Source of the mechanism: kernel documentation, cgroup-v1/freezer-subsystem and cgroup-v2 (`cgroup.freeze`).
    """

    kind: ClassVar[str] = "freeze"
    family: ClassVar[str] = "process"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")

    target: Service

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """Its life; and while Toxiproxy is frozen no toxic comes or goes."""
        return claims(self.target, LIFE) | carried(topology, self.target)

    def prepare(self, world: World) -> Unpause:
        """It must run, and not be frozen already by somebody else, whom the heal would undo."""
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
        said = "is frozen" if state.paused else "runs" if state.running else "is dead"
        unit = "share of health requests answered"
        return Observation(answered / PROBES, unit, holds, absent, f"container {said}")

    @staticmethod
    def heal(world: World, undo: Unpause) -> None:
        """Thaw it; one that is not frozen, or was killed meanwhile, is left as it is."""
        world.containers.unpause(undo.service, undo.container_id)


FAULT = Freeze
