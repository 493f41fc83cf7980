"""The cgroups of the stack's containers, read and loaded from the host."""

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
    """A container's memory cgroup now; the two counters are cumulative.

    New kernels leave `limit_events` at 0 on v1: see `Cgroups.limit_hits`. `ceiling_bytes` is where the kernel begins
    to push back (the lowest of its limits), -1 where nothing does.
    """

    usage_bytes: int
    ceiling_bytes: int
    limit: MemoryLimit
    limit_events: int
    oom_kills: int


@dataclass(frozen=True, slots=True)
class PidsUse:
    """A container's processes and threads now; `limit` is -1 where there is none. `refusals` is cumulative."""

    current: int
    limit: int
    refusals: int


class Cgroups(Protocol):
    """The cgroups of a service's container, read and loaded from the host.

    Whatever is started here belongs to the lab, joins the cgroup by itself, and ends by itself after a while.
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
