"""What the Docker engine does to a container of the stack, and what it says of it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What the engine says of one service's container; `pid` is 0 when it does not run."""

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
    """A CPU cap in microseconds of CPU time per period; `quota_us` is -1 where there is none."""

    quota_us: int
    period_us: int


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A memory limit in bytes, and that of memory and swap together; -1 where there is none."""

    memory_bytes: int
    memory_and_swap_bytes: int


class Containers(Protocol):
    """The containers of one stack, by compose service; refuses what does not carry the lab's labels.

    Methods that act take the container id that the caller saw before, and refuse another one (FaultError).
    """

    def state(self, service: str) -> ContainerState: ...
    def same(self, service: str, container_id: str) -> ContainerState: ...
    def kill(self, service: str, container_id: str) -> None: ...
    def start(self, service: str, container_id: str) -> None: ...
    def terminate(self, service: str, container_id: str) -> None: ...
    def restart(self, service: str, container_id: str, grace_s: int) -> None: ...
    def pause(self, service: str, container_id: str) -> None: ...
    def unpause(self, service: str, container_id: str) -> None: ...
    def set_cpu_quota(self, service: str, container_id: str, quota: CpuQuota) -> None: ...
    def set_memory_limit(self, service: str, container_id: str, limit: MemoryLimit) -> None: ...
    def set_pids_max(self, service: str, container_id: str, pids_max: int) -> None: ...
