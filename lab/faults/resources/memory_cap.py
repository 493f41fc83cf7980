"""Cap a service's memory a little above what it uses, as a container limit does that was set too low."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.errors import FaultError
from lab.faults.conflicts import MEMORY, PACE, carried
from lab.faults.resources.proof import running
from lab.model.scenario import Claim, claims
from lab.model.topology import Topology
from lab.model.undo import RestoreMemory
from lab.ports import Fault, MemoryLimit, Observation, World

MIB = 1 << 20
# The demand exceeds the limit by this much, because the counters of v1 are wrong by up to 64 pages per core.
BEYOND_MIB = 16
DEMAND_MIB_MAX = 512


@dataclass(frozen=True, slots=True)
class MemoryCap(Fault):
    """Limits a container's memory, and memory and swap together, to `headroom_mib` above what it uses now.

    Source of the counters: kernel documentation, cgroup-v1/memory (failcnt, pressure_level), cgroup-v2 (memory.events).
    """

    kind: ClassVar[str] = "memory_cap"
    family: ClassVar[str] = "resources"
    services: ClassVar[tuple[str, ...]] = ("mcp", "qdrant", "toxiproxy")
    needs: ClassVar[tuple[str, ...]] = ("cgroup_memory", "root")

    target: Literal["mcp", "qdrant", "toxiproxy"]
    headroom_mib: Annotated[int, Ge(8), Le(256)] = 16

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """The limits; and the links, because a Toxiproxy that is short of memory is slow on every link."""
        return claims(self.target, MEMORY) | carried(topology, self.target, (PACE,))

    def prepare(self, world: World) -> RestoreMemory:
        """Record the present limits, read from the cgroup itself."""
        state = running(world, self.target, "it has no memory to cap")
        old = world.cgroups.memory(self.target).limit
        return RestoreMemory(self.target, state.id, old.memory_bytes, old.memory_and_swap_bytes)

    def inject(self, world: World, undo: RestoreMemory) -> None:
        """Set both limits through the engine, so that the engine still knows the real values."""
        limit = world.cgroups.memory(undo.service).usage_bytes + self.headroom_mib * MIB
        world.containers.set_memory_limit(undo.service, undo.container_id, MemoryLimit(limit, limit))

    def observe(self, world: World, before: Observation | None) -> Observation:
        """Demand a little page cache inside the cgroup, which the kernel can reclaim, and count hits of the limit.

        In force when the cgroup has a limit and the demand hits it, and the same demand hit nothing before.
        """
        start = world.cgroups.memory(self.target)
        room = max(0, start.ceiling_bytes - start.usage_bytes) // MIB
        mib = min(
            max(self.headroom_mib, room if start.ceiling_bytes >= 0 else 0) + BEYOND_MIB, DEMAND_MIB_MAX
        )
        events = world.cgroups.limit_hits(self.target, mib, 0.0)
        end = world.cgroups.memory(self.target)
        limited = end.limit.memory_bytes >= 0
        detail = f"{mib} MiB demanded, {end.usage_bytes / MIB:.0f} MiB used, "
        detail += f"limit {end.limit.memory_bytes / MIB:.0f} MiB" if limited else "no limit"
        holds = before is not None and before.measured == 0 and limited and events > 0
        return Observation(events, "limit events", holds, absent=events == 0, detail=detail)

    @staticmethod
    def heal(world: World, undo: RestoreMemory) -> None:
        """Restore the old limits and read them back; a stopped container gets them when it starts."""
        limit = MemoryLimit(undo.memory_bytes, undo.memory_and_swap_bytes)
        world.containers.set_memory_limit(undo.service, undo.container_id, limit)
        if not world.containers.state(undo.service).running:
            return
        now = world.cgroups.memory(undo.service).limit
        if now != limit:
            raise FaultError(f"{undo.service} still has {now} after its limits were restored")


FAULT = MemoryCap
