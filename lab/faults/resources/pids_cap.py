"""Cap the number of a service's processes and threads, so that it can start no more."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.errors import FaultError
from lab.faults.resources.proof import running
from lab.model.undo import RestorePidsMax
from lab.ports import Fault, Observation, World

# How many more forks are tried than the cap allows, so that threads that end meanwhile do not matter.
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
        """Record the present limit, read from the cgroup itself."""
        state = running(world, self.target, "it has no processes to cap")
        return RestorePidsMax(self.target, state.id, world.cgroups.pids(self.target).limit)

    def inject(self, world: World, undo: RestorePidsMax) -> None:
        """Set the limit through the engine, so that the engine still knows the real value."""
        pids_max = world.cgroups.pids(undo.service).current + self.headroom_tasks
        world.containers.set_pids_max(undo.service, undo.container_id, pids_max)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """Fork inside the container's pids cgroup: in force when the kernel refuses forks that it granted before."""
        asked = self.headroom_tasks + BEYOND
        granted = world.cgroups.try_forks(self.target, asked)
        now = world.cgroups.pids(self.target)
        detail = f"{granted} of {asked} forks granted, {now.current} tasks, limit {now.limit}, {now.refusals} refused"
        holds = before is not None and before.measured == asked and granted < asked and now.limit >= 0
        return Observation(granted, "forks granted", holds, absent=granted == asked, detail=detail)

    @staticmethod
    def heal(world: World, undo: RestorePidsMax) -> None:
        """Restore the old limit and read it back; a stopped container gets it when it starts."""
        world.containers.set_pids_max(undo.service, undo.container_id, undo.pids_max)
        if not world.containers.state(undo.service).running:
            return
        now = world.cgroups.pids(undo.service).limit
        if now != undo.pids_max:
            raise FaultError(f"{undo.service} still has a limit of {now} processes after it was restored")


FAULT = PidsCap
