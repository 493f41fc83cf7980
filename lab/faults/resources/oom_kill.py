"""Let the kernel kill a service's process for lack of memory; the heal starts the same container again."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.errors import FaultError
from lab.faults.conflicts import MEMORY, death
from lab.faults.resources.proof import running
from lab.model.scenario import Claim, claims
from lab.model.topology import Topology
from lab.model.undo import ReviveContainer
from lab.ports import Fault, MemoryLimit, Observation, World

MIB = 1 << 20
PROBES, KILLED = 3, 137
# If only a child process was killed, the container lives on, and the heal goes on after 5 s.
DEATH_TRIES, DEATH_NAP_S, STARTS, ACT_MAX_S = 100, 0.05, 2, 60.0


@dataclass(frozen=True, slots=True)
class OomKill(Fault):
    """Limits the container's memory just above what it uses, and takes the rest with a process that cannot be killed.

    So the kernel can choose only the target's own processes. The target stays dead until the fault is healed.
    """

    kind: ClassVar[str] = "oom_kill"
    family: ClassVar[str] = "resources"
    services: ClassVar[tuple[str, ...]] = ("mcp", "qdrant")
    needs: ClassVar[tuple[str, ...]] = ("cgroup_memory", "root")
    act_max_s: ClassVar[float] = ACT_MAX_S

    target: Literal["mcp", "qdrant"]
    headroom_mib: Annotated[int, Ge(2), Le(256)] = 8

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """The memory limits, the main process, and all that ends with it."""
        return claims(self.target, MEMORY) | death(topology, self.target)

    def prepare(self, world: World) -> ReviveContainer:
        """Record the present limits; raises FaultError where the service does not run."""
        state = running(world, self.target, "the kernel has nothing to kill")
        old = world.cgroups.memory(self.target).limit
        token = world.processes.new_token(self.kind)
        return ReviveContainer(self.target, state.id, old.memory_bytes, old.memory_and_swap_bytes, token)

    def inject(self, world: World, undo: ReviveContainer) -> None:
        """Set both limits, then take memory until the kernel kills, but no more than the limit."""
        limit = world.cgroups.memory(undo.service).usage_bytes + self.headroom_mib * MIB
        world.containers.set_memory_limit(undo.service, undo.container_id, MemoryLimit(limit, limit))
        world.cgroups.exhaust(undo.service, undo.container_id, undo.token, limit // MIB + 1)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when the engine reports that the kernel killed the container, and nothing answers any more."""
        state = world.containers.state(self.target)
        answered = sum(world.reach.answers(self.target, timeout_s=1.0) for _ in range(PROBES))
        killed = not state.running and state.oom_killed and state.exit_code == KILLED
        holds = before is not None and before.absent and killed and answered == 0
        absent = state.running and answered == PROBES
        detail = "container runs" if state.running else f"container is dead (exit code {state.exit_code})"
        detail += f", {'killed' if state.oom_killed else 'not reported as killed'} for lack of memory"
        return Observation(answered / PROBES, "share of health requests answered", holds, absent, detail)

    @staticmethod
    def heal(world: World, undo: ReviveContainer) -> None:
        """End the lab's process, restore the old limits, start the container, and read the limits back."""
        world.processes.end(undo.token)
        limit = MemoryLimit(undo.memory_bytes, undo.memory_and_swap_bytes)
        for _ in range(STARTS):
            _let_it_die(world, undo.service)
            world.containers.set_memory_limit(undo.service, undo.container_id, limit)
            world.containers.start(undo.service, undo.container_id)
            if world.containers.state(undo.service).running:
                break
        if not world.containers.state(undo.service).running:
            return
        if (now := world.cgroups.memory(undo.service).limit) != limit:
            raise FaultError(f"{undo.service} still has {now} after its limits were restored")


def _let_it_die(world: World, service: str) -> None:
    """Wait until the engine knows that the container has died, if the kernel has killed it.

    Before that an update of its limits fails, and a start does nothing, because the container still counts as running.
    """
    for _ in range(DEATH_TRIES):
        if not world.containers.state(service).running:
            return
        with suppress(FaultError):  # its process or its cgroup has just gone: it is dying
            if world.cgroups.memory(service).oom_kills == 0:
                return
        world.clock.sleep_s(DEATH_NAP_S)


FAULT = OomKill
