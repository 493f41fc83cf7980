"""Cap the CPU time of a service, as a noisy neighbour or a small machine would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.errors import FaultError
from lab.faults.conflicts import CPU_QUOTA
from lab.faults.resources.proof import running
from lab.model.undo import RestoreCpuQuota
from lab.ports import CpuQuota, Fault, Observation, World

PERIOD_US = 100_000
# Long enough for one whole period at any start: a cap below one core then throttles the demand at least once.
GLANCE_S = 0.25
DEMAND_S = 0.6
# The kernel hands quota out in slices and a period may straddle the reading's ends: 20 % covers both.
TOLERANCE = 1.2


@dataclass(frozen=True, slots=True)
class CpuCap(Fault):
    """Limits a container to `cores` of CPU time through the kernel's CFS bandwidth control.

    Source of the mechanism: kernel documentation, scheduler/sched-bwc.
    """

    kind: ClassVar[str] = "cpu_cap"
    family: ClassVar[str] = "resources"
    services: ClassVar[tuple[str, ...]] = ("mcp", "qdrant")
    needs: ClassVar[tuple[str, ...]] = ("cgroup_cpu", "root")
    resources: ClassVar[tuple[str, ...]] = (CPU_QUOTA,)

    target: Literal["mcp", "qdrant"]
    cores: Annotated[float, Ge(0.05), Le(0.75)] = 0.5

    def prepare(self, world: World) -> RestoreCpuQuota:
        """Record the present quota, read from the cgroup itself."""
        state = running(world, self.target, "it has no CPU to cap")
        old = world.cgroups.cpu_quota(self.target)
        return RestoreCpuQuota(self.target, state.id, old.quota_us, old.period_us)

    def inject(self, world: World, undo: RestoreCpuQuota) -> None:
        """Set the quota through the engine, so that the engine still knows the real value."""
        quota = CpuQuota(round(self.cores * PERIOD_US), PERIOD_US)
        world.containers.set_cpu_quota(undo.service, undo.container_id, quota)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """Demand a whole core inside the container's cgroup for a short time, and measure how much it gets.

        In force when the kernel throttles the demand, did not throttle it before, and grants no more than the cap. A
        busy machine gives less, but throttles nothing. Absent when nothing is throttled and the cgroup has no such
        quota. The longer demand is made only where something is throttled, to spare a service without the fault.
        """
        start, demanded_s = world.cgroups.cpu_usage(self.target), GLANCE_S
        world.cgroups.burn(self.target, GLANCE_S)
        end = world.cgroups.cpu_usage(self.target)
        if end.throttled_periods > start.throttled_periods:
            demanded_s = DEMAND_S
            world.cgroups.burn(self.target, DEMAND_S - GLANCE_S)
            end = world.cgroups.cpu_usage(self.target)
        got = (end.usage_us - start.usage_us) / 1000 / (end.at_ms - start.at_ms)
        throttled = end.throttled_periods - start.throttled_periods
        detail = f"{throttled} periods throttled while one core was demanded for {demanded_s:g} s"
        quota = world.cgroups.cpu_quota(self.target)
        free = quota.quota_us < 0 or quota.quota_us > self.cores * TOLERANCE * quota.period_us
        holds = before is not None and before.absent and throttled > 0 and got <= self.cores * TOLERANCE
        return Observation(got, "cores", holds, absent=free and throttled == 0, detail=detail)

    @staticmethod
    def heal(world: World, undo: RestoreCpuQuota) -> None:
        """Restore the old quota; a container that was replaced meanwhile has its own quota and is left alone."""
        quota = CpuQuota(undo.quota_us, undo.period_us)
        world.containers.set_cpu_quota(undo.service, undo.container_id, quota)
        if not world.containers.state(undo.service).running:
            return
        now = world.cgroups.cpu_quota(undo.service)
        if now.quota_us != undo.quota_us:
            raise FaultError(
                f"{undo.service} still has a CPU quota of {now.quota_us} us after it was restored"
            )


FAULT = CpuCap
