"""The cgroups of the stack's containers: the host reads them, and starts processes of the lab inside them."""

from dataclasses import dataclass
from typing import Protocol

from lab.ports.containers import CpuQuota, MemoryLimit


@dataclass(frozen=True, slots=True)
class CpuUsage:
    """Cumulative counters of a container's CPU cgroup, read at `at_ms`."""

    at_ms: float
    usage_us: int
    periods: int
    throttled_periods: int


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """A container's memory cgroup now; `limit_events` and `oom_kills` are cumulative counters.

    On cgroup v1, new kernels leave `limit_events` at 0: see `Cgroups.limit_hits`. `ceiling_bytes` is the lowest limit,
    at which the kernel begins to reclaim memory; -1 if there is none.
    """

    usage_bytes: int
    ceiling_bytes: int
    limit: MemoryLimit
    limit_events: int
    oom_kills: int


@dataclass(frozen=True, slots=True)
class PidsUse:
    """A container's processes and threads now. `limit` is -1 if there is none; `refusals` is a cumulative counter."""

    current: int
    limit: int
    refusals: int


class Cgroups(Protocol):
    """The cgroups of a service's container, as the host reads them.

    Every process that is started here belongs to the lab, joins the cgroup, and ends by itself after a while.
    """

    def cpu_quota(self, service: str) -> CpuQuota: ...
    def cpu_usage(self, service: str) -> CpuUsage: ...
    def burn(self, service: str, seconds: float) -> None: ...
    def memory(self, service: str) -> MemoryUse: ...
    def limit_hits(self, service: str, mib: int, seconds: float) -> int: ...
    def start_hog(self, service: str, container_id: str, token: str, mib: int) -> None: ...
    def exhaust(self, service: str, container_id: str, token: str, mib: int) -> None: ...
    def set_memory_high(self, service: str, container_id: str, high_bytes: int) -> bool: ...
    def pids(self, service: str) -> PidsUse: ...
    def try_forks(self, service: str, count: int) -> int: ...
