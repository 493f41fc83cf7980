"""The CPU and memory cgroups of containers, v1 and v2, read from the host; nothing is cached between reads."""

import subprocess
from pathlib import Path

from lab.errors import FaultError
from lab.ports import Clock, Containers, CpuQuota, CpuUsage

ROOT = Path("/sys/fs/cgroup")
# On cgroup v1 limiting (cpu) and counting (cpuacct) may be two hierarchies: the burner must be in both.
_BURNER = 'echo $$ > "$1" && echo $$ > "$2" || exit 3; exec timeout "$3" sh -c "while :; do :; done"'


def cgroup_dir(pid: int, controller: str, *, root: Path = ROOT, proc: Path = Path("/proc")) -> Path:
    """The directory of a process's cgroup for a controller (`cpu`, `memory`), on v1 and v2.

    Source: cgroups(7). Raises FaultError where the process is gone or the controller is not mounted.
    """
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FaultError(
            f"process {pid} is gone", where=f"/proc/{pid}/cgroup", last_state=str(error)
        ) from error
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            for mount in (controllers, controller):
                if (found := root / mount / path.lstrip("/")).is_dir():
                    return found
    for line in lines:
        hierarchy, controllers, path = line.split(":", 2)
        if hierarchy == "0" and not controllers and (found := root / path.lstrip("/")).is_dir():
            return found
    raise FaultError(f"process {pid} has no {controller} cgroup under {root}", last_state="; ".join(lines))


def _flat(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {key: int(value) for key, value in pairs}


def read_quota(directory: Path) -> CpuQuota:
    """The cap in force in a CPU cgroup directory."""
    if (unified := directory / "cpu.max").exists():
        quota, period = unified.read_text(encoding="utf-8").split()
        return CpuQuota(-1 if quota == "max" else int(quota), int(period))
    quota_us = int((directory / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
    return CpuQuota(quota_us, int((directory / "cpu.cfs_period_us").read_text(encoding="utf-8")))


def read_usage(directory: Path, cpuacct: Path, at_ms: float) -> CpuUsage:
    """Cumulative CPU time and throttling of a CPU cgroup directory (`cpuacct` is used on v1 only)."""
    stat = _flat(directory / "cpu.stat")
    usage_us = stat.get("usage_usec")
    if usage_us is None:
        usage_us = int((cpuacct / "cpuacct.usage").read_text(encoding="utf-8")) // 1000
    return CpuUsage(at_ms, usage_us, stat["nr_periods"], stat["nr_throttled"])


def read_anonymous_bytes(directory: Path) -> int:
    """Anonymous memory and swap of a memory cgroup: what a leak fills, without the page cache.

    Source: kernel documentation, cgroup-v1/memory and cgroup-v2 (`total_rss`, `anon`).
    """
    stat = _flat(directory / "memory.stat")
    if "anon" in stat:
        swap = directory / "memory.swap.current"
        return stat["anon"] + (int(swap.read_text(encoding="utf-8")) if swap.exists() else 0)
    return stat["total_rss"] + stat.get("total_swap", 0)


class HostCgroups:
    """Implements `lab.ports.Cgroups` by entering the cgroups from the host, which needs root."""

    def __init__(self, containers: Containers, clock: Clock) -> None:
        self._containers = containers
        self._clock = clock

    def cpu_quota(self, service: str) -> CpuQuota:
        """The cap in force, read back from the kernel."""
        return read_quota(self._directory(service, "cpu"))

    def cpu_usage(self, service: str) -> CpuUsage:
        """Counters now."""
        cpuacct = self._directory(service, "cpuacct")
        return read_usage(self._directory(service, "cpu"), cpuacct, self._clock.now_ms())

    def anonymous_bytes(self, service: str) -> int:
        """Anonymous memory and swap now."""
        return read_anonymous_bytes(self._directory(service, "memory"))

    def burn(self, service: str, seconds: float) -> None:
        """Demand one whole core inside the service's cgroup for a moment, with a process of the lab's own."""
        procs = self._directory(service, "cpu") / "cgroup.procs"
        counted = self._directory(service, "cpuacct") / "cgroup.procs"
        command = ["sh", "-c", _BURNER, "burner", str(procs), str(counted), f"{seconds:g}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 10, check=False)
        if done.returncode not in (0, 124):
            raise FaultError(
                f"no demand could be made inside {service}'s CPU cgroup",
                where=str(procs),
                last_state=f"exit {done.returncode}: {done.stderr.strip()}",
                try_="run as root, or see `lab doctor`",
            )

    def _directory(self, service: str, controller: str) -> Path:
        return cgroup_dir(self._containers.state(service).pid, controller)
