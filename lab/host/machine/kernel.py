"""The features of this machine's kernel that faults and measurements need; it reads files and changes nothing."""

import gzip
import os
import platform
from pathlib import Path

V1_FILES = {
    "cpu": "cpu/cpu.cfs_quota_us",
    "memory": "memory/memory.limit_in_bytes",
    "blkio": "blkio/blkio.throttle.write_bps_device",
    "pids": "pids/pids.max",
}
V2_NAMES = {"cpu": "cpu", "memory": "memory", "blkio": "io", "pids": "pids"}


def cgroup_version(root: Path = Path("/sys/fs/cgroup")) -> int:
    """2 for the unified hierarchy, 1 for the old hierarchies, 0 if neither is mounted."""
    if (root / "cgroup.controllers").exists():
        return 2
    return 1 if any((root / name).is_dir() for name in ("cpu", "memory")) else 0


def has_controller(name: str, root: Path = Path("/sys/fs/cgroup")) -> bool:
    """True if `cpu`, `memory`, `blkio` or `pids` can be limited; on version 1 the file for it must exist."""
    if cgroup_version(root) == 2:
        return V2_NAMES[name] in (root / "cgroup.controllers").read_text(encoding="ascii").split()
    file = root / V1_FILES[name]
    # On some kernels the root group has no quota file, but its children have one.
    return file.exists() or any(file.parent.glob(f"*/{file.name}"))


def has_module(module: str, option: str) -> bool:
    """True if a kernel module is loaded, built in or on disk; `option` is its name in the kernel configuration."""
    release = platform.release()
    folder = Path("/lib/modules") / release
    if Path("/sys/module", module).is_dir() or _listed(folder / "modules.builtin", module):
        return True
    if _listed(folder / "modules.dep", module):
        return True
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{release}")):
        text = _config(path)
        # Without a module folder nothing can be loaded, so only what is built in counts.
        if f"{option}=y" in text:
            return True
    return False


def _listed(path: Path, module: str) -> bool:
    return path.is_file() and f"/{module}.ko" in path.read_text(encoding="utf-8", errors="replace")


def _config(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError:
        return ""
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")


def ptrace_scope(path: Path = Path("/proc/sys/kernel/yama/ptrace_scope")) -> int:
    """Which processes may be traced (Yama): 0 all of the same user, 1 only children, 2 only by root, 3 none."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def memory_bytes() -> tuple[int, int]:
    """The total and the available memory, in bytes."""
    pairs = (line.split(":") for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    kib = {name: int(rest.split()[0]) for name, rest in pairs}
    return kib["MemTotal"] * 1024, kib.get("MemAvailable", kib["MemFree"]) * 1024


def cpus() -> int:
    """The number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def cpu_waiting_s(path: Path = Path("/proc/pressure/cpu")) -> float | None:
    """The seconds since the boot in which a task waited for a CPU (PSI, `some`); None where the kernel has none.

    Source: Documentation/accounting/psi.rst.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        some = next(line for line in lines if line.startswith("some "))
        return int(some.rpartition("total=")[2]) / 1e6
    except (OSError, ValueError, StopIteration):
        return None
