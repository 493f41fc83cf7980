"""Slow the disk that holds a service's data, as a worn or shared disk would be."""

from dataclasses import astuple, dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.errors import FaultError
from lab.faults.conflicts import DISK, DISK_LIMITS
from lab.faults.resources.proof import running
from lab.model.undo import RestoreThrottle
from lab.ports import Fault, Observation, World
from lab.ports.storage import Throttle

DEMAND_S, BLOCK_BYTES, PAGE_BYTES = 0.5, 65_536, 4096
# The kernel grants the rate in slices of 100 ms, a fifth of the demand. Measured rates are 1.00 to 1.02 of the cap.
TOLERANCE, FREE_SHARE = 1.1, 1.5


@dataclass(frozen=True, slots=True)
class DiskSlow(Fault):
    """Limits bytes and operations a second on the device that holds the data; 0 means unlimited.

    Source of the mechanism: kernel documentation, cgroup-v1/blkio-controller (throttle) and cgroup-v2 (io.max).
    """

    kind: ClassVar[str] = "disk_slow"
    family: ClassVar[str] = "resources"
    services: ClassVar[tuple[str, ...]] = ("qdrant",)
    needs: ClassVar[tuple[str, ...]] = ("cgroup_blkio", "store_ext4", "root")
    resources: ClassVar[tuple[str, ...]] = (DISK, DISK_LIMITS)
    look_max_s: ClassVar[float] = 12 * 20.0  # four limits, each measured inside, outside, and inside again

    target: Literal["qdrant"]
    write_bps: Annotated[int, Ge(0), Le(50_000_000)] = 2_000_000
    read_bps: Annotated[int, Ge(0), Le(50_000_000)] = 0
    write_iops: Annotated[int, Ge(0), Le(2000)] = 0
    read_iops: Annotated[int, Ge(0), Le(2000)] = 0

    def __post_init__(self) -> None:
        asked = (self.write_bps, self.read_bps, self.write_iops, self.read_iops)
        if not any(asked):
            raise ValueError("one of write_bps, read_bps, write_iops and read_iops must be more than 0")
        if any(0 < bps < 2 * BLOCK_BYTES for bps in asked[:2]) or any(0 < iops < 4 for iops in asked[2:]):
            raise ValueError(f"a limit below {2 * BLOCK_BYTES} bytes/s or 4 operations/s cannot be proven")

    def prepare(self, world: World) -> RestoreThrottle:
        """Find the device and record its limits; raises FaultError where the device is the host's own."""
        state = running(world, self.target, "its disk cannot be slowed")
        device = world.storage.device(self.target)
        old = world.storage.throttle(self.target, device)
        return RestoreThrottle(self.target, state.id, device, *astuple(old))

    def inject(self, world: World, undo: RestoreThrottle) -> None:
        """Limit the running container by its cgroup: the engine's update accepts these limits and does nothing."""
        wanted = Throttle(self.read_bps, self.write_bps, self.read_iops, self.write_iops)
        world.storage.set_throttle(undo.service, undo.container_id, undo.device, wanted)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when direct reads and writes inside the container's cgroup are no faster than their caps.

        Outside of the cgroup the same device must be faster at that time; else it is busy, and not capped. The measured
        value is a rate divided by its cap: the smallest while the fault is absent, the largest while it is in force.
        """
        rates = self._rates(world)
        slowest, fastest = min(rates.values()), max(rates.values())
        below = fastest <= TOLERANCE
        detail = ", ".join(f"{name} at {rate:.2f} of its cap" for name, rate in rates.items())
        holds = before is not None and before.absent and below
        if holds:
            free = min(self._rates(world, inside=False).values())
            holds = free >= FREE_SHARE and max(self._rates(world).values()) <= TOLERANCE
            detail += f"; outside of the cgroup at least {free:.2f}"
        return Observation(fastest if below else slowest, "times the cap", holds, slowest > TOLERANCE, detail)

    def _rates(self, world: World, *, inside: bool = True) -> dict[str, float]:
        rates = {}
        for act in ("write", "read"):
            for limit, block in (("bps", BLOCK_BYTES), ("iops", PAGE_BYTES)):
                if cap := getattr(self, f"{act}_{limit}"):
                    blocks = max(2, round(cap * DEMAND_S / (block if limit == "bps" else 1)))
                    seconds = world.storage.io_seconds(self.target, act, block, blocks, inside=inside)
                    rates[f"{act}_{limit}"] = blocks * (block if limit == "bps" else 1) / seconds / cap
        return rates

    @staticmethod
    def heal(world: World, undo: RestoreThrottle) -> None:
        """Restore the old limits and read them back; those of a stopped container ended with its cgroup."""
        if not world.containers.state(undo.service).running:
            return
        old = Throttle(undo.read_bps, undo.write_bps, undo.read_iops, undo.write_iops)
        world.storage.set_throttle(undo.service, undo.container_id, undo.device, old)
        if (now := world.storage.throttle(undo.service, undo.device)) != old:
            raise FaultError(f"{undo.service} still has {now} on {undo.device} after it was restored")


FAULT = DiskSlow
