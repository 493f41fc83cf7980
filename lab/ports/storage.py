"""The file system that holds a service's data; it never belongs to the host."""

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Throttle:
    """Block device limits of a container, in bytes and operations per second; 0 if there is no limit."""

    read_bps: int = 0
    write_bps: int = 0
    read_iops: int = 0
    write_iops: int = 0


class Storage(Protocol):
    """Fills, slows and measures the file system of a service's data; a file system of the host is refused.

    A device has the name `MAJOR:MINOR`. Probe files have no name, so none of them can stay behind. A measurement that
    is not `inside` the service's cgroup shows what the same device gives to other processes.
    """

    def free_bytes(self, service: str) -> int: ...
    def device(self, service: str) -> str: ...
    def throttle(self, service: str, device: str) -> Throttle: ...
    def set_throttle(self, service: str, container_id: str, device: str, throttle: Throttle) -> None: ...
    def io_seconds(
        self,
        service: str,
        act: Literal["read", "write"],
        block_bytes: int,
        blocks: int,
        *,
        inside: bool = True,
    ) -> float: ...
    def can_allocate(self, service: str, size_bytes: int) -> bool: ...
    def fill(self, service: str, container_id: str, name: str, leave_bytes: int) -> None: ...
    def remove_filler(self, service: str, container_id: str, name: str) -> None: ...
