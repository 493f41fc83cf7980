"""A store's file system in memory."""

from dataclasses import dataclass, field, replace
from typing import Literal

from lab.ports.storage import Throttle

DEVICE = "7:0"
RATES = Throttle(500_000_000, 500_000_000, 10_000, 10_000)


@dataclass
class FakeStorage:
    """Free bytes, fillers and device limits by service; `deaf` services take every command and do nothing."""

    deaf: set[str] = field(default_factory=set)
    free: dict[str, int] = field(default_factory=lambda: {"qdrant": 1 << 30})
    fillers: dict[tuple[str, str], int] = field(default_factory=dict)
    limits: dict[tuple[str, str], Throttle] = field(default_factory=dict)
    # What somebody else's work on the device adds to everything.
    busy_s: float = 0.0

    def free_bytes(self, service: str) -> int:
        return self.free[service] - sum(size for (where, _), size in self.fillers.items() if where == service)

    def device(self, service: str) -> str:
        return DEVICE

    def throttle(self, service: str, device: str) -> Throttle:
        return self.limits.get((service, device), Throttle())

    def set_throttle(self, service: str, container_id: str, device: str, throttle: Throttle) -> None:
        if service not in self.deaf:
            self.limits[service, device] = replace(throttle)

    def io_seconds(
        self,
        service: str,
        act: Literal["read", "write"],
        block_bytes: int,
        blocks: int,
        *,
        inside: bool = True,
    ) -> float:
        limit = self.throttle(service, self.device(service)) if inside else Throttle()
        bps = getattr(limit, f"{act}_bps") or getattr(RATES, f"{act}_bps")
        iops = getattr(limit, f"{act}_iops") or getattr(RATES, f"{act}_iops")
        return float(max(blocks * block_bytes / bps, blocks / iops)) + self.busy_s

    def can_allocate(self, service: str, size_bytes: int) -> bool:
        return self.free_bytes(service) >= size_bytes

    def fill(self, service: str, container_id: str, name: str, leave_bytes: int) -> None:
        if service not in self.deaf:
            self.fillers[service, name] = max(0, self.free_bytes(service) - leave_bytes)

    def remove_filler(self, service: str, container_id: str, name: str) -> None:
        self.fillers.pop((service, name), None)
