"""A world in memory: one container per service, one proxy per link, with the effects that faults have on real ones.

`tests/contract/test_faults.py` runs the same suite against this world and against Docker's, so that a fake which lies
is caught.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from lab.errors import FaultError, GoneError
from lab.ports import ContainerState, CpuQuota, CpuUsage, World

BASE_TRIP_MS = 2.0


class FakeClock:
    """A clock that moves only when somebody sleeps on it."""

    def __init__(self) -> None:
        self.at_ms = 0.0

    def now_ms(self) -> float:
        return self.at_ms

    def epoch_ms(self) -> float:
        return 1_700_000_000_000.0 + self.at_ms

    def wall(self) -> str:
        return f"2026-01-01T00:00:{self.at_ms / 1000:06.3f}Z"

    def sleep_s(self, seconds: float) -> None:
        self.at_ms += max(0.0, seconds) * 1000


@dataclass
class FakeContainers:
    """Containers by service; `deaf` services accept every command and do nothing."""

    deaf: set[str] = field(default_factory=set)
    states: dict[str, ContainerState] = field(default_factory=dict)
    quotas: dict[str, CpuQuota] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, service in enumerate(("qdrant", "mcp", "toxiproxy")):
            self.states[service] = ContainerState(
                service, f"id-{service}", service, True, False, 100 + number, "", 0
            )
            self.quotas[service] = CpuQuota(-1, 100_000)

    def state(self, service: str) -> ContainerState:
        return self.states[service]

    def kill(self, service: str, container_id: str) -> None:
        self._check(service, container_id)
        if service not in self.deaf:
            self.states[service] = replace(self.states[service], running=False, pid=0, exit_code=137)

    def start(self, service: str, container_id: str) -> None:
        self._check(service, container_id)
        self.states[service] = replace(self.states[service], running=True, pid=200, exit_code=0)

    def set_cpu_quota(self, service: str, container_id: str, quota: CpuQuota) -> None:
        self._check(service, container_id)
        if service not in self.deaf:
            self.quotas[service] = quota

    def _check(self, service: str, container_id: str) -> None:
        if self.states[service].id != container_id:
            raise GoneError(f"{service} was replaced")


@dataclass
class FakeProxies:
    """Proxies by name, each a dict of toxics; a disabled proxy takes toxics that change nothing."""

    disabled: set[str] = field(default_factory=set)
    added: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {"mcp": {}, "qdrant": {}})

    def require_enabled(self, proxy: str) -> None:
        if proxy in self.disabled:
            raise FaultError(f"the proxy {proxy!r} is disabled")

    def toxics(self, proxy: str) -> list[str]:
        return sorted(self.added[proxy])

    def add_toxic(self, proxy: str, *, name: str, kind: str, stream: str, attributes: dict[str, Any]) -> None:
        self.added[proxy][name] = attributes

    def remove_toxic(self, proxy: str, *, name: str) -> None:
        self.added[proxy].pop(name, None)

    def round_trips_ms(self, proxy: str, tries: int) -> list[float]:
        if proxy in self.disabled:
            return [BASE_TRIP_MS] * tries
        delay = sum(attributes["latency"] for attributes in self.added[proxy].values())
        return [BASE_TRIP_MS + delay] * tries


@dataclass
class FakeCgroups:
    """A CPU cgroup whose burner gets what the quota allows."""

    containers: FakeContainers
    clock: FakeClock
    used_us: dict[str, int] = field(default_factory=dict)
    throttled: dict[str, int] = field(default_factory=dict)

    def cpu_quota(self, service: str) -> CpuQuota:
        return self.containers.quotas[service]

    def cpu_usage(self, service: str) -> CpuUsage:
        used, throttled = self.used_us.get(service, 0), self.throttled.get(service, 0)
        return CpuUsage(self.clock.now_ms(), used, 0, throttled)

    def burn(self, service: str, seconds: float) -> None:
        quota = self.cpu_quota(service)
        share = 1.0 if quota.quota_us < 0 else min(1.0, quota.quota_us / quota.period_us)
        self.used_us[service] = self.used_us.get(service, 0) + round(seconds * 1e6 * share)
        if share < 1.0:
            self.throttled[service] = self.throttled.get(service, 0) + 1
        self.clock.sleep_s(seconds)


@dataclass
class FakeReach:
    """A service answers while its container runs."""

    containers: FakeContainers

    def answers(self, service: str, *, timeout_s: float) -> bool:
        return self.containers.states[service].running


def fake_world(*, deaf: set[str] | None = None, disabled: set[str] | None = None) -> World:
    """A healthy stack in memory; `deaf` containers ignore commands, `disabled` proxies ignore toxics."""
    clock = FakeClock()
    containers = FakeContainers(deaf=deaf or set())
    return World(
        clock=clock,
        containers=containers,
        proxies=FakeProxies(disabled=disabled or set()),
        cgroups=FakeCgroups(containers, clock),
        reach=FakeReach(containers),
    )
