"""Processes: the lab's own that make demand inside a fault, and the limits of the target's."""

from dataclasses import dataclass
from typing import Protocol

from lab.ports.containers import Containers, ContainerState

# Every process that the lab starts for a fault ends by itself after so many seconds: longer than any hold or lease.
LIFETIME_S = 1800.0


@dataclass(frozen=True, slots=True)
class Burning:
    """What the lab's burners in a container's CPU cgroup did for a moment, in cores.

    `wanted` is what they ran and waited to run, `got` what they ran, `total` what the cgroup as a whole was charged.
    """

    burners: int
    wanted: float
    got: float
    total: float


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """The open descriptors and their limits of the process that listens, known by id and start (clock ticks)."""

    pid: int
    pid_started: float
    open: int
    soft: int
    hard: int


class Processes(Protocol):
    """Starts and ends the lab's own processes, each known by a token in its arguments (`lab-fault=TOKEN`).

    A process that the lab starts for a fault belongs to nothing else, and ends by itself after `seconds`; ending them
    by their token works in another process than the one that started them. What enters a container asks `containers`
    again whether the container is still the one of `state`, and refuses another one and the host (FaultError).
    """

    def new_token(self, kind: str) -> str: ...
    def end(self, token: str) -> list[int]: ...
    def running(self, token: str) -> list[int]: ...
    def burn(
        self, containers: Containers, state: ContainerState, token: str, burners: int, seconds: float
    ) -> None: ...
    def burning(self, containers: Containers, state: ContainerState) -> Burning: ...
    def crash(
        self, containers: Containers, state: ContainerState, token: str, every_s: float, seconds: float
    ) -> None: ...
    def connect(
        self, containers: Containers, state: ContainerState, token: str, count: int, seconds: float
    ) -> None: ...
    def connected(self, containers: Containers, state: ContainerState) -> int: ...
    def open_files(self, containers: Containers, state: ContainerState) -> OpenFiles: ...
    def limit_open_files(self, container_id: str, files: OpenFiles) -> bool: ...
