"""Reads and writes the files of cgroups, v1 and v2, as values; it knows directories, and no containers."""

from pathlib import Path

from lab.errors import FaultError
from lab.ports import CpuQuota, CpuUsage, MemoryLimit
from lab.ports.cgroups import MemoryUse, PidsUse
from lab.ports.storage import Throttle

# On v1, no limit is shown as the largest number of whole pages (kernel, page_counter.h).
UNLIMITED_FROM = 1 << 60
# The largest whole page; the kernel takes it as no limit.
NO_LIMIT_BYTES = (1 << 63) - 4096
_V1_FILES = {
    "read_bps": "blkio.throttle.read_bps_device",
    "write_bps": "blkio.throttle.write_bps_device",
    "read_iops": "blkio.throttle.read_iops_device",
    "write_iops": "blkio.throttle.write_iops_device",
}
_V2_KEYS = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}


def flat(path: Path) -> dict[str, int]:
    """A file whose lines are `key number`."""
    pairs = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {key: int(value) for key, value in pairs}


def for_engine(limit: MemoryLimit, version: int) -> MemoryLimit:
    """A memory limit in the form that the engine accepts: it takes no -1, so no limit is the largest number.

    On cgroup v1 this is also true for memory and swap together, because the kernel refuses a value below the other one.
    On v2 the engine takes the difference of the two as the swap limit. Two largest numbers would then allow no swap, so
    there -1 stays.
    """
    memory, both = (
        size if size >= 0 else NO_LIMIT_BYTES for size in (limit.memory_bytes, limit.memory_and_swap_bytes)
    )
    return MemoryLimit(memory, both if version == 1 else limit.memory_and_swap_bytes)


def read_quota(directory: Path) -> CpuQuota:
    """The CPU cap in force, from a CPU cgroup directory."""
    if (unified := directory / "cpu.max").exists():
        quota, period = unified.read_text(encoding="utf-8").split()
        return CpuQuota(-1 if quota == "max" else int(quota), int(period))
    quota_us = int((directory / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
    return CpuQuota(quota_us, int((directory / "cpu.cfs_period_us").read_text(encoding="utf-8")))


def read_usage(directory: Path, cpuacct: Path, at_ms: float) -> CpuUsage:
    """Cumulative CPU time and throttling, from a CPU cgroup directory; `cpuacct` is used only on v1."""
    stat = flat(directory / "cpu.stat")
    usage_us = stat.get("usage_usec")
    if usage_us is None:
        usage_us = int((cpuacct / "cpuacct.usage").read_text(encoding="utf-8")) // 1000
    return CpuUsage(at_ms, usage_us, stat["nr_periods"], stat["nr_throttled"])


def read_anonymous_bytes(directory: Path) -> int:
    """Anonymous memory and swap of a memory cgroup: a leak fills these, and they exclude the page cache.

    Source: kernel documentation, cgroup-v1/memory and cgroup-v2 (`total_rss`, `anon`).
    """
    stat = flat(directory / "memory.stat")
    if "anon" in stat:
        swap = directory / "memory.swap.current"
        return stat["anon"] + (int(swap.read_text(encoding="utf-8")) if swap.exists() else 0)
    return stat["total_rss"] + stat.get("total_swap", 0)


def _number(path: Path, absent: int) -> int:
    """The number in a file; `absent` if there is no such file, -1 for no limit."""
    if not path.exists():
        return absent
    text = path.read_text(encoding="utf-8").strip()
    if text == "max":
        return -1
    return -1 if int(text) >= UNLIMITED_FROM else int(text)


def read_memory(directory: Path) -> MemoryUse:
    """Usage, limits and counters of a memory cgroup directory.

    On v1, memory and memory+swap are counted separately; if both limits are equal, the kernel counts the second.
    Source: kernel documentation, cgroup-v1/memory (failcnt, oom_control) and cgroup-v2 (memory.events).
    """
    if (directory / "memory.events").exists():
        return _read_memory_v2(directory)
    limit = _number(directory / "memory.limit_in_bytes", -1)
    both = _number(directory / "memory.memsw.limit_in_bytes", -1)
    events = sum(_number(directory / name, 0) for name in ("memory.failcnt", "memory.memsw.failcnt"))
    usage = _number(directory / "memory.usage_in_bytes", 0)
    kills = flat(directory / "memory.oom_control").get("oom_kill", 0)
    return MemoryUse(usage, _lowest(limit, both), MemoryLimit(limit, both), events, kills)


def _read_memory_v2(directory: Path) -> MemoryUse:
    limit, swap = _number(directory / "memory.max", -1), _number(directory / "memory.swap.max", -1)
    high = _number(directory / "memory.high", -1)
    both = -1 if -1 in (limit, swap) else limit + swap
    events = flat(directory / "memory.events")
    usage = _number(directory / "memory.current", 0)
    pushed = events.get("high", 0) + events.get("max", 0)
    return MemoryUse(usage, _lowest(limit, high), MemoryLimit(limit, both), pushed, events.get("oom_kill", 0))


def _lowest(*limits: int) -> int:
    return min((limit for limit in limits if limit >= 0), default=-1)


def read_pids(directory: Path) -> PidsUse:
    """Processes and threads, from a pids cgroup directory; v1 and v2 have the same files."""
    events = directory / "pids.events"
    refusals = flat(events).get("max", 0) if events.exists() else 0
    return PidsUse(_number(directory / "pids.current", 0), _number(directory / "pids.max", -1), refusals)


def read_throttle(directory: Path, device: str) -> Throttle:
    """The limits in force for a device (`MAJOR:MINOR`) in a blkio (v1) or io (v2) cgroup directory."""
    if _is_v1(directory):
        return Throttle(**{field: _v1_limit(directory / name, device) for field, name in _V1_FILES.items()})
    for line in (directory / "io.max").read_text(encoding="utf-8").splitlines():
        name, *pairs = line.split()
        if name == device:
            values = dict(pair.split("=", 1) for pair in pairs)
            limits = {field: values.get(key, "max") for field, key in _V2_KEYS.items()}
            return Throttle(**{field: 0 if text == "max" else int(text) for field, text in limits.items()})
    return Throttle()


def write_throttle(directory: Path, device: str, throttle: Throttle) -> None:
    """Set the limits of a device to absolute values; 0 removes a limit. Raises FaultError if the kernel refuses."""
    values = {field: int(getattr(throttle, field)) for field in _V1_FILES}
    try:
        if _is_v1(directory):
            for field, name in _V1_FILES.items():
                (directory / name).write_text(f"{device} {values[field]}\n", encoding="ascii")
            return
        pairs = " ".join(f"{_V2_KEYS[field]}={value or 'max'}" for field, value in values.items())
        (directory / "io.max").write_text(f"{device} {pairs}\n", encoding="ascii")
    except OSError as error:
        raise FaultError(
            "the kernel refuses a block device limit",
            where=f"{directory}, device {device}",
            last_state=str(error),
            try_="`lab doctor` says whether cgroup_blkio is there",
        ) from error


def _is_v1(directory: Path) -> bool:
    return (directory / _V1_FILES["write_bps"]).exists()


def _v1_limit(path: Path, device: str) -> int:
    pairs = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return next((int(value) for name, value in pairs if name == device), 0)
