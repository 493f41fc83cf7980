"""Cap the number of a service's processes and threads, so that it can start no more of them."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.errors import FaultError
from lab.faults.resources.proof import running
from lab.model.undo import RestorePidsMax
from lab.ports import Fault, Observation, World

# The probe asks for more than the cap leaves by this much, so that threads that end meanwhile do not matter.
BEYOND = 16


@dataclass(frozen=True, slots=True)
class PidsCap(Fault):
    """Limits a container's processes and threads to `headroom_tasks` above what it has now.

    Source of the mechanism: kernel documentation, cgroup-v2 (pids.max; a fork beyond it fails with EAGAIN).
    """

    kind: ClassVar[str] = "pids_cap"
    family: ClassVar[str] = "resources"
    services: ClassVar[tuple[str, ...]] = ("mcp", "qdrant", "toxiproxy")
    needs: ClassVar[tuple[str, ...]] = ("cgroup_pids", "root")

    target: Literal["mcp", "qdrant", "toxiproxy"]
    headroom_tasks: Annotated[int, Ge(0), Le(64)] = 0

    def prepare(self, world: World) -> RestorePidsMax:
        """Remember the limit in force now, read from the cgroup itself."""
        state = running(world, self.target, "it has no processes to cap")
        return RestorePidsMax(self.target, state.id, world.cgroups.pids(self.target).limit)

    def inject(self, world: World, undo: RestorePidsMax) -> None:
        """Set the limit through the engine, so that the engine's own view stays true."""
        pids_max = world.cgroups.pids(undo.service).current + self.headroom_tasks
        world.containers.set_pids_max(undo.service, undo.container_id, pids_max)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """Fork inside the container's pids cgroup: in force when the kernel refuses what it granted before."""
        asked = self.headroom_tasks + BEYOND
        granted = world.cgroups.try_forks(self.target, asked)
        now = world.cgroups.pids(self.target)
        detail = f"{granted} of {asked} forks granted, {now.current} tasks, limit {now.limit}, {now.refusals} refused"
        holds = before is not None and before.measured == asked and granted < asked and now.limit >= 0
        return Observation(granted, "forks granted", holds, absent=granted == asked, detail=detail)

    @staticmethod
    def heal(world: World, undo: RestorePidsMax) -> None:
        """Put the old limit back and read it; a dead container gets it when it starts."""
        world.containers.set_pids_max(undo.service, undo.container_id, undo.pids_max)
        if not world.containers.state(undo.service).running:
            return
        now = world.cgroups.pids(undo.service).limit
        if now != undo.pids_max:
            raise FaultError(f"{undo.service} still has a limit of {now} processes after it was restored")


FAULT = PidsCap
