"""Processes of the lab that put load on a container, and the limits of the container's own processes."""

from dataclasses import dataclass
from typing import Protocol

from lab.ports.containers import Containers, ContainerState

# A process that the lab starts for a fault ends by itself after this many seconds, which is longer than any lease.
LIFETIME_S = 1800.0


@dataclass(frozen=True, slots=True)
class CpuLoad:
    """The CPU use of the lab's load processes (burners) in a container's CPU cgroup during a short time, in cores.

    `wanted` is the time that they ran or waited to run, `got` the time that they ran, and `total` the CPU time of the
    whole cgroup.
    """

    burners: int
    wanted: float
    got: float
    total: float


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """The open file descriptors of the process that listens, and their limits.

    The process is identified by its id and its start time (clock ticks since boot).
    """

    pid: int
    pid_started: float
    open: int
    soft: int
    hard: int


class Processes(Protocol):
    """Starts and ends processes of the lab; a token in the arguments identifies each of them (`lab-fault=TOKEN`).

    Such a process serves one fault only, and ends by itself after `seconds`. Any process of the lab can end it by its
    token, not only the one that started it. Before a method enters a container, it asks `containers` again whether the
    container is still the one of `state`; it refuses another container, and the host (FaultError).
    """

    def new_token(self, kind: str) -> str: ...
    def end(self, token: str) -> list[int]: ...
    def running(self, token: str) -> list[int]: ...
    def burn(
        self, containers: Containers, state: ContainerState, token: str, burners: int, seconds: float
    ) -> None: ...
    def cpu_load(self, containers: Containers, state: ContainerState) -> CpuLoad: ...
    def crash(
        self, containers: Containers, state: ContainerState, token: str, every_s: float, seconds: float
    ) -> None: ...
    def connect(
        self, containers: Containers, state: ContainerState, token: str, count: int, seconds: float
    ) -> None: ...
    def connection_count(self, containers: Containers, state: ContainerState) -> int: ...
    def open_files(self, containers: Containers, state: ContainerState) -> OpenFiles: ...
    def limit_open_files(self, container_id: str, files: OpenFiles) -> bool: ...
