"""The cgroups of containers, v1 and v2, read and loaded from the host; nothing is cached between reads."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import FaultError, GoneError
from lab.host.audit import Audit, unaudited
from lab.host.cgroups.cgroup_files import read_anonymous_bytes, read_memory, read_pids, read_quota, read_usage
from lab.host.machine.state import state_dir
from lab.host.processes.marks import mark
from lab.ports import Clock, Containers, CpuQuota, CpuUsage
from lab.ports.cgroups import MemoryUse, PidsUse
from lab.ports.processes import LIFETIME_S

__all__ = [
    "HostCgroups",
    "cgroup_dir",
    "own_directory",
    "read_anonymous_bytes",
    "read_quota",
    "read_usage",
    "run_job",
]

ROOT = Path("/sys/fs/cgroup")
JOBS = Path(__file__).with_name("cgroup_jobs.py")
PROBE_S = 20
EXHAUST_S = 20
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


def own_directory(containers: Containers, service: str, controller: str, container_id: str = "") -> Path:
    """The cgroup directory of a service's container, seen to bear that container's id in its path.

    So a process id that was reused, or the host's root cgroup, is refused. Raises GoneError for another container
    than `container_id` (where given), FaultError for one that does not run.
    """
    state = containers.state(service)
    if container_id and state.id != container_id:
        raise GoneError(f"{service} is no longer the same container; somebody replaced it", where=state.name)
    if not state.running:
        raise FaultError(
            f"{service} does not run, so it has no cgroup", where=state.name, try_="`lab status`"
        )
    directory = cgroup_dir(state.pid, controller)
    if state.id not in directory.as_posix():
        raise FaultError(
            f"the {controller} cgroup of process {state.pid} is not that of {service}'s container",
            where=str(directory),
            try_="nothing: what is not the container's own is left alone",
        )
    return directory


def command(
    job: str, seconds: int, directories: Sequence[Path], arguments: Sequence[object], mark: str = ""
) -> list[str]:
    """The command line of a job inside cgroups; see `cgroup_jobs`."""
    procs = ",".join(str(directory / "cgroup.procs") for directory in directories)
    return [sys.executable, "-I", "-S", str(JOBS), mark, job, str(seconds), procs, *map(str, arguments)]


def run_job(job: str, directory: Path | None, *arguments: object) -> str:
    """Run a short job inside a cgroup (None: the lab's own) and return what it says; raises FaultError."""
    asked = command(job, PROBE_S, [] if directory is None else [directory], arguments)
    done = subprocess.run(asked, capture_output=True, text=True, timeout=PROBE_S + 10, check=False)
    if done.returncode != 0:
        raise FaultError(
            f"no {job} probe could be made inside a container's cgroup",
            where=str(directory),
            last_state=f"exit {done.returncode}: {done.stderr.strip()[-300:]}",
            try_="run as root, or see `lab doctor`",
        )
    return done.stdout.strip()


class HostCgroups:
    """Implements `lab.ports.Cgroups` by entering the cgroups from the host, which needs root."""

    def __init__(self, containers: Containers, clock: Clock, audit: Audit = unaudited) -> None:
        self._containers = containers
        self._clock = clock
        self._audit = audit

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
        asked = ["sh", "-c", _BURNER, "burner", str(procs), str(counted), f"{seconds:g}"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=seconds + 10, check=False)
        if done.returncode not in (0, 124):
            raise FaultError(
                f"no demand could be made inside {service}'s CPU cgroup",
                where=str(procs),
                last_state=f"exit {done.returncode}: {done.stderr.strip()}",
                try_="run as root, or see `lab doctor`",
            )

    def memory(self, service: str) -> MemoryUse:
        """Usage, limits and counters now."""
        return read_memory(self._directory(service, "memory"))

    def limit_hits(self, service: str, mib: int, seconds: float) -> int:
        """How often the kernel pushed back at a limit of the memory cgroup while `mib` of page cache were demanded.

        The demand can be taken back, so that nobody is killed for it; 0 only watches.
        """
        directory = self._directory(service, "memory")
        return int(run_job("watch", directory, directory, state_dir(), mib, f"{seconds:g}"))

    def start_hog(self, service: str, container_id: str, token: str, mib: int) -> None:
        """Hold memory inside the memory cgroup and go on demanding page cache; returns once it is held."""
        self._start("hog", service, container_id, token, int(LIFETIME_S), state_dir(), mib)

    def exhaust(self, service: str, container_id: str, token: str, mib: int) -> None:
        """Take memory inside the cgroup until the kernel kills one of its processes, or `mib` are taken.

        Returns when either has happened: whether somebody was killed must be measured elsewhere.
        """
        directory = self._directory(service, "memory", container_id)
        self._start("exhaust", service, container_id, token, EXHAUST_S, directory, mib)

    def set_memory_high(self, service: str, container_id: str, high_bytes: int) -> bool:
        """Set where the kernel begins to reclaim (v2 only, -1 lifts it); False on v1, which has no such thing."""
        high = self._directory(service, "memory", container_id) / "memory.high"
        if not high.exists():
            return False
        self._audit("memory.high set", service, str(high_bytes))
        high.write_text("max" if high_bytes < 0 else str(high_bytes), encoding="ascii")
        return True

    def pids(self, service: str) -> PidsUse:
        """Processes, their limit and what was refused so far."""
        return read_pids(self._directory(service, "pids"))

    def try_forks(self, service: str, count: int) -> int:
        """How many of `count` forks at once the kernel grants to a process of the lab's own in the pids cgroup."""
        return int(run_job("forks", self._directory(service, "pids"), count))

    def _start(
        self, job: str, service: str, container_id: str, token: str, seconds: int, *arguments: object
    ) -> None:
        """Start a job that outlives this call, as nobody's child, and wait for its first word."""
        directory = self._directory(service, "memory", container_id)
        self._audit(f"{job} started in the memory cgroup", service, mark(token))
        asked = ["setsid", "--fork", *command(job, seconds, [directory], arguments, mark(token))]
        with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as started:
            assert started.stdout is not None
            word = started.stdout.readline().strip()
        # A container that dies takes every process of its cgroup with it, so `exhaust` may not come to speak.
        if not word and job != "exhaust":
            raise FaultError(
                f"the {job} inside {service}'s memory cgroup ended before it held anything",
                where=str(directory),
                try_="a smaller one, or `lab doctor`",
            )

    def _directory(self, service: str, controller: str, container_id: str = "") -> Path:
        return own_directory(self._containers, service, controller, container_id)
