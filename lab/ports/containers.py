"""The containers of a stack: their state, and the actions that a fault needs."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ContainerState:
    """The state of one service's container, as the engine reports it; `pid` is 0 if it does not run."""

    service: str
    id: str
    name: str
    running: bool
    paused: bool
    pid: int
    started_at: str
    exit_code: int
    oom_killed: bool = False


@dataclass(frozen=True, slots=True)
class CpuQuota:
    """A CPU cap in microseconds of CPU time per period; `quota_us` is -1 if there is no cap."""

    quota_us: int
    period_us: int


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A limit of memory, and a limit of memory and swap together, both in bytes; -1 if there is none."""

    memory_bytes: int
    memory_and_swap_bytes: int


class Containers(Protocol):
    """The containers of one stack, by service name; containers without the lab's labels are refused.

    Each method that acts takes the container id that the caller has seen before. If the service has another container
    by now, the method does nothing and raises GoneError. `inspect` is the state of that very container.
    """

    def state(self, service: str) -> ContainerState: ...
    def inspect(self, service: str, container_id: str) -> ContainerState: ...
    def kill(self, service: str, container_id: str) -> None: ...
    def start(self, service: str, container_id: str) -> None: ...
    def terminate(self, service: str, container_id: str) -> None: ...
    def restart(self, service: str, container_id: str, grace_s: int) -> None: ...
    def pause(self, service: str, container_id: str) -> None: ...
    def unpause(self, service: str, container_id: str) -> None: ...
    def set_cpu_quota(self, service: str, container_id: str, quota: CpuQuota) -> None: ...
    def set_memory_limit(self, service: str, container_id: str, limit: MemoryLimit) -> None: ...
    def set_pids_max(self, service: str, container_id: str, pids_max: int) -> None: ...
