"""Keep a service's memory cgroup full, so that the kernel reclaims memory from it all the time."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.errors import FaultError
from lab.faults.conflicts import HOG, MEMORY, PACE, carried
from lab.faults.resources.proof import running
from lab.model.scenario import Claim, claims
from lab.model.topology import Topology
from lab.model.undo import RestoreMemory
from lab.ports import Fault, MemoryLimit, Observation, World
from lab.ports.processes import LIFETIME_S

MIB = 1 << 20
WATCH_S = 0.5
# The kernel reclaims in batches, so usage varies a little below the limit.
NEAR = 0.9


@dataclass(frozen=True, slots=True)
class MemoryPressure(Fault):
    """Starts a process that holds `hog_mib` inside the container's memory cgroup, and leaves `left_mib` to the limit.

    The process goes on demanding page cache. If the kernel must kill, it kills this process first, never the target.
    cgroup v2 throttles at memory.high. v1 has no such thing, so there the limit itself is set that much above the use.
    """

    kind: ClassVar[str] = "memory_pressure"
    family: ClassVar[str] = "resources"
    services: ClassVar[tuple[str, ...]] = ("mcp", "qdrant", "toxiproxy")
    needs: ClassVar[tuple[str, ...]] = ("cgroup_memory", "root")
    lifetime_s: ClassVar[float] = LIFETIME_S

    target: Literal["mcp", "qdrant", "toxiproxy"]
    hog_mib: Annotated[int, Ge(8), Le(512)] = 64
    left_mib: Annotated[int, Ge(2), Le(64)] = 8

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """The limits and the load; and the links, because a Toxiproxy that is short of memory is slow on every link."""
        return claims(self.target, MEMORY, HOG) | carried(topology, self.target, (PACE,))

    def prepare(self, world: World) -> RestoreMemory:
        """Record the present limits; raises FaultError where a memory.high is set already."""
        state = running(world, self.target, "it has no memory to press")
        now = world.cgroups.memory(self.target)
        if now.ceiling_bytes not in (-1, now.limit.memory_bytes, now.limit.memory_and_swap_bytes):
            raise FaultError(f"{self.target} has a memory.high already", where=state.name)
        token = world.processes.new_token(self.kind)
        return RestoreMemory(
            self.target, state.id, now.limit.memory_bytes, now.limit.memory_and_swap_bytes, token
        )

    def inject(self, world: World, undo: RestoreMemory) -> None:
        """Start the process first, so that the limit is computed from the use with it."""
        world.cgroups.start_hog(undo.service, undo.container_id, undo.token, self.hog_mib)
        ceiling = world.cgroups.memory(undo.service).usage_bytes + self.left_mib * MIB
        if not world.cgroups.set_memory_high(undo.service, undo.container_id, ceiling):
            limit = MemoryLimit(ceiling, ceiling)
            world.containers.set_memory_limit(undo.service, undo.container_id, limit)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when usage stays near a limit, and the limit is hit without any demand of the observation."""
        events = world.cgroups.limit_hits(self.target, 0, WATCH_S)
        end = world.cgroups.memory(self.target)
        near = end.ceiling_bytes >= 0 and end.usage_bytes >= NEAR * end.ceiling_bytes
        holds = before is not None and before.measured == 0 and near and events > 0
        where = f"limit {end.ceiling_bytes / MIB:.0f} MiB" if end.ceiling_bytes >= 0 else "no limit"
        detail = f"{end.usage_bytes / MIB:.0f} MiB used, {where}, watched for {WATCH_S:g} s"
        return Observation(events, "limit events", holds, absent=events == 0 and not near, detail=detail)

    @staticmethod
    def heal(world: World, undo: RestoreMemory) -> None:
        """End the process, then restore the old limits and read them back."""
        world.processes.end(undo.token)
        runs = world.containers.state(undo.service).running
        if runs:
            world.cgroups.set_memory_high(undo.service, undo.container_id, -1)
        limit = MemoryLimit(undo.memory_bytes, undo.memory_and_swap_bytes)
        world.containers.set_memory_limit(undo.service, undo.container_id, limit)
        if runs and (now := world.cgroups.memory(undo.service).limit) != limit:
            raise FaultError(f"{undo.service} still has {now} after its limits were restored")


FAULT = MemoryPressure
