"""The lab's own processes in memory."""

from dataclasses import dataclass, field
from typing import Any

from lab.ports import ContainerState
from lab.ports.processes import CpuLoad, OpenFiles


@dataclass
class FakeProcesses:
    """Processes by token, each with the service that it acts on; those on `deaf` services live and do nothing."""

    deaf: set[str] = field(default_factory=set)
    tokens: int = 0
    alive: dict[str, list[int]] = field(default_factory=dict)
    acts: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    limits: dict[int, tuple[int, int]] = field(default_factory=dict)
    containers: Any = None

    def new_token(self, kind: str) -> str:
        self.tokens += 1
        return f"run.{kind}-{self.tokens}"

    def end(self, token: str) -> list[int]:
        act, service, _ = self.acts.pop(token, ("", "", 0))
        if act == "crash":
            self.containers.crashing.discard(service)
        self._starve(service)
        return self.alive.pop(token, [])

    def running(self, token: str) -> list[int]:
        return list(self.alive.get(token, []))

    def burn(self, containers: Any, state: ContainerState, token: str, burners: int, seconds: float) -> None:
        self._begin(containers, state, token, "burn", burners)

    def cpu_load(self, containers: Any, state: ContainerState) -> CpuLoad:
        burners = self._sum("burn", state.service)
        return CpuLoad(burners, float(burners), float(burners), float(burners))

    def crash(
        self, containers: Any, state: ContainerState, token: str, every_s: float, seconds: float
    ) -> None:
        self._begin(containers, state, token, "crash", 1)
        if state.service not in self.deaf:
            containers.crashing.add(state.service)

    def connect(self, containers: Any, state: ContainerState, token: str, count: int, seconds: float) -> None:
        self._begin(containers, state, token, "connect", count)
        self._starve(state.service)

    def connection_count(self, containers: Any, state: ContainerState) -> int:
        return self._sum("connect", state.service)

    def open_files(self, containers: Any, state: ContainerState) -> OpenFiles:
        self.containers = containers
        soft, hard = self.limits.get(state.pid, (1024, 4096))
        taken = min(10 + self._sum("connect", state.service), soft)
        return OpenFiles(state.pid, 1.0, taken, soft, hard)

    def limit_open_files(self, container_id: str, files: OpenFiles) -> bool:
        found = [one for one in self.containers.states.values() if one.pid == files.pid]
        if not found or found[0].id != container_id or found[0].service in self.deaf:
            return bool(found)
        self.limits[files.pid] = (files.soft, files.hard)
        self._starve(found[0].service)
        return True

    def _begin(self, containers: Any, state: ContainerState, token: str, act: str, count: int) -> None:
        self.containers = containers
        self.alive[token] = [1000 + len(self.alive)]
        self.acts[token] = (act, state.service, count)

    def _sum(self, act: str, service: str) -> int:
        ours = [number for kind, on, number in self.acts.values() if (kind, on) == (act, service)]
        return 0 if service in self.deaf else sum(ours)

    def _starve(self, service: str) -> None:
        """A server without a free descriptor accepts nobody."""
        if self.containers is None or not service:
            return
        files = self.open_files(self.containers, self.containers.states[service])
        change = self.containers.starved.add if files.open >= files.soft else self.containers.starved.discard
        change(service)
