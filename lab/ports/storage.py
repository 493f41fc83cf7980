"""The file system that holds a service's data: never the host's own."""

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Throttle:
    """Block device limits of a container: bytes and operations a second, 0 where there is none."""

    read_bps: int = 0
    write_bps: int = 0
    read_iops: int = 0
    write_iops: int = 0


class Storage(Protocol):
    """Fills, slows and measures the file system on which a service keeps its data; refuses one that is the host's.

    A device is named `MAJOR:MINOR`. Probe files have no name, so that nothing of them can stay. What is measured not
    `inside` the service's cgroup is what the same device gives to others.
    """

    def free_bytes(self, service: str) -> int: ...
    def device(self, service: str) -> str: ...
    def throttle(self, service: str, device: str) -> Throttle: ...
    def set_throttle(self, service: str, container_id: str, device: str, throttle: Throttle) -> None: ...
    def seconds_for(
        self,
        service: str,
        act: Literal["read", "write"],
        block_bytes: int,
        blocks: int,
        *,
        inside: bool = True,
    ) -> float: ...
    def room_for(self, service: str, size_bytes: int) -> bool: ...
    def fill(self, service: str, container_id: str, name: str, leave_bytes: int) -> None: ...
    def remove_filler(self, service: str, container_id: str, name: str) -> None: ...
