"""Cgroups in memory."""

from dataclasses import dataclass, field, replace

from lab.errors import FaultError
from lab.ports import CpuQuota, CpuUsage, MemoryLimit
from lab.ports.cgroups import MemoryUse, PidsUse
from tests.contract.fakes.clock import FakeClock
from tests.contract.fakes.containers import FakeContainers

MIB = 1 << 20
USED_BYTES = 200 * MIB
TASKS = 10


@dataclass
class FakeCgroups:
    """Cgroups with the limits that the containers were given; `hogs` are bytes held by token and service."""

    containers: FakeContainers
    clock: FakeClock
    used_us: dict[str, int] = field(default_factory=dict)
    throttled: dict[str, int] = field(default_factory=dict)
    hogs: dict[str, tuple[str, int]] = field(default_factory=dict)
    # What a busy machine gives to a process that demands a core.
    given: float = 1.0

    def cpu_quota(self, service: str) -> CpuQuota:
        return self.containers.quotas[service]

    def cpu_usage(self, service: str) -> CpuUsage:
        used, throttled = self.used_us.get(service, 0), self.throttled.get(service, 0)
        return CpuUsage(self.clock.now_ms(), used, 0, throttled)

    def burn(self, service: str, seconds: float) -> None:
        quota = self.cpu_quota(service)
        share = self.given if quota.quota_us < 0 else min(self.given, quota.quota_us / quota.period_us)
        self.used_us[service] = self.used_us.get(service, 0) + round(seconds * 1e6 * share)
        if share < self.given:
            self.throttled[service] = self.throttled.get(service, 0) + 1
        self.clock.sleep_s(seconds)

    def memory(self, service: str) -> MemoryUse:
        self._require_running(service)
        given = self.containers.memory[service]
        memory, both = given.memory_bytes, given.memory_and_swap_bytes
        ceiling = min((one for one in (memory, both) if one >= 0), default=-1)
        wanted = USED_BYTES + sum(size for where, size in self.hogs.values() if where == service)
        # A hog's page cache fills what a limit leaves; without a limit it is not told from what the host caches.
        pressed = ceiling >= 0 and wanted > USED_BYTES
        return MemoryUse(ceiling if pressed else wanted, ceiling, MemoryLimit(memory, both), 0, 0)

    def limit_hits(self, service: str, mib: int, seconds: float) -> int:
        now = self.memory(service)
        self.clock.sleep_s(seconds)
        if now.ceiling_bytes < 0:
            return 0
        pressed = any(where == service for where, _ in self.hogs.values())
        beyond = now.usage_bytes + mib * MIB - now.ceiling_bytes
        return max(0, beyond // MIB) + (5 if pressed else 0)

    def start_hog(self, service: str, container_id: str, token: str, mib: int) -> None:
        self._require_running(service)
        self.hogs[token] = (service, mib * MIB)

    def exhaust(self, service: str, container_id: str, token: str, mib: int) -> None:
        now = self.memory(service)
        if now.ceiling_bytes < 0 or now.usage_bytes + mib * MIB <= now.ceiling_bytes:
            return
        states = self.containers.states
        states[service] = replace(states[service], running=False, pid=0, exit_code=137, oom_killed=True)

    def set_memory_high(self, service: str, container_id: str, high_bytes: int) -> bool:
        return False

    def pids(self, service: str) -> PidsUse:
        self._require_running(service)
        return PidsUse(TASKS, self.containers.pids_max[service], 0)

    def try_forks(self, service: str, count: int) -> int:
        now = self.pids(service)
        # The process that forks counts too.
        return count if now.limit < 0 else max(0, min(count, now.limit - now.current - 1))

    def _require_running(self, service: str) -> None:
        if not self.containers.states[service].running:
            raise FaultError(f"{service} does not run, so it has no cgroup")
