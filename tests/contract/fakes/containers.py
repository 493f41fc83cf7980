"""Containers in memory."""

from dataclasses import dataclass, field, replace

from lab.errors import GoneError
from lab.ports import ContainerState, CpuQuota, MemoryLimit


@dataclass
class FakeContainers:
    """Containers by service; `deaf` services accept every command and do nothing."""

    deaf: set[str] = field(default_factory=set)
    states: dict[str, ContainerState] = field(default_factory=dict)
    quotas: dict[str, CpuQuota] = field(default_factory=dict)
    memory: dict[str, MemoryLimit] = field(default_factory=dict)
    pids_max: dict[str, int] = field(default_factory=dict)
    starts: int = 0
    # Those that are killed and started again whenever somebody looks, and those that accept nobody.
    crashing: set[str] = field(default_factory=set)
    starved: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for number, service in enumerate(("qdrant", "mcp", "toxiproxy")):
            self.states[service] = ContainerState(
                service,
                f"id-{service}",
                service,
                True,
                False,
                100 + number,
                "2025-12-31T00:00:00.000000000Z",
                0,
            )
            self.quotas[service] = CpuQuota(-1, 100_000)
            self.memory[service] = MemoryLimit(-1, -1)
            self.pids_max[service] = -1

    def state(self, service: str) -> ContainerState:
        if service in self.crashing:
            self._begin(service)
        return self.states[service]

    def inspect(self, service: str, container_id: str) -> ContainerState:
        self._check(service, container_id)
        return self.state(service)

    def kill(self, service: str, container_id: str) -> None:
        self._check(service, container_id)
        if service not in self.deaf:
            self.states[service] = replace(self.states[service], running=False, pid=0, exit_code=137)

    def terminate(self, service: str, container_id: str) -> None:
        self._check(service, container_id)
        if service not in self.deaf:
            self.states[service] = replace(self.states[service], running=False, pid=0, exit_code=143)

    def start(self, service: str, container_id: str) -> None:
        self._check(service, container_id)
        if not self.states[service].running:
            self._begin(service)

    def restart(self, service: str, container_id: str, grace_s: int) -> None:
        self._check(service, container_id)
        if service not in self.deaf:
            self._begin(service)

    def _begin(self, service: str) -> None:
        self.starts += 1
        started_at = f"2026-01-01T00:00:00.{self.starts:06}000Z"
        self.states[service] = replace(
            self.states[service], running=True, pid=200 + self.starts, exit_code=0, started_at=started_at
        )

    def pause(self, service: str, container_id: str) -> None:
        self._check(service, container_id)
        if service not in self.deaf:
            self.states[service] = replace(self.states[service], paused=True)

    def unpause(self, service: str, container_id: str) -> None:
        self._check(service, container_id)
        self.states[service] = replace(self.states[service], paused=False)

    def set_memory_limit(self, service: str, container_id: str, limit: MemoryLimit) -> None:
        self._check(service, container_id)
        if service not in self.deaf:
            self.memory[service] = limit

    def set_pids_max(self, service: str, container_id: str, pids_max: int) -> None:
        self._check(service, container_id)
        if service not in self.deaf:
            self.pids_max[service] = pids_max

    def set_cpu_quota(self, service: str, container_id: str, quota: CpuQuota) -> None:
        self._check(service, container_id)
        if service not in self.deaf:
            self.quotas[service] = quota

    def _check(self, service: str, container_id: str) -> None:
        if self.states[service].id != container_id:
            raise GoneError(f"{service} was replaced")


@dataclass
class FakeReach:
    """A service answers while its container runs."""

    containers: FakeContainers

    def answers(self, service: str, *, timeout_s: float) -> bool:
        state = self.containers.states[service]
        return state.running and not state.paused and service not in self.containers.starved
