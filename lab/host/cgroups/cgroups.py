"""The cgroups of containers, v1 and v2, which the host reads and starts load in; nothing is cached."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.errors import FaultError, GoneError
from lab.host.audit import Audit, unaudited
from lab.host.cgroups.cgroup_files import read_anonymous_bytes, read_memory, read_pids, read_quota, read_usage
from lab.host.machine.state import state_dir
from lab.host.processes.marks import mark
from lab.host.system_errors import as_fault_error
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
# On cgroup v1, limiting (cpu) and counting (cpuacct) may be two hierarchies: the burner must be in both.
_BURNER = 'echo $$ > "$1" && echo $$ > "$2" || exit 3; exec timeout "$3" sh -c "while :; do :; done"'


def cgroup_dir(pid: int, controller: str, *, root: Path = ROOT, proc: Path = Path("/proc")) -> Path:
    """The directory of a process's cgroup for a controller (`cpu`, `memory`), on v1 and v2.

    Raises FaultError if the process is gone or the controller is not mounted. Source: cgroups(7).
    """
    try:
        text = (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FaultError(
            f"process {pid} is gone", where=f"/proc/{pid}/cgroup", last_state=str(error)
        ) from error
    lines = [line for line in text.splitlines() if line.count(":") >= 2]
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
    """The cgroup directory of a service's container; its path must contain the container's id.

    So a process id that was reused is refused, and the host's root cgroup too. Raises GoneError if the service has
    another container than `container_id` (if given), FaultError if it does not run.
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
            try_="nothing: other cgroups are left alone",
        )
    return directory


def command(
    job: str, seconds: int, directories: Sequence[Path], arguments: Sequence[object], mark: str = ""
) -> list[str]:
    """The command line of a job inside cgroups; see `cgroup_jobs`."""
    procs = ",".join(str(directory / "cgroup.procs") for directory in directories)
    return [sys.executable, "-I", "-S", str(JOBS), mark, job, str(seconds), procs, *map(str, arguments)]


def run_job(job: str, directory: Path | None, *arguments: object) -> str:
    """Run a short job inside a cgroup (None: the lab's own) and return its output; raises FaultError."""
    asked = command(job, PROBE_S, [] if directory is None else [directory], arguments)
    failed = f"the {job} job inside a container's cgroup did not end"
    with as_fault_error(failed, where=str(directory), try_="`lab doctor`; the machine may be overloaded"):
        done = subprocess.run(
            asked, capture_output=True, text=True, errors="replace", timeout=PROBE_S + 10, check=False
        )
    if done.returncode != 0:
        raise FaultError(
            f"the {job} job inside a container's cgroup failed",
            where=str(directory),
            last_state=f"exit {done.returncode}: {done.stderr.strip()[-300:]}",
            try_="run as root, or see `lab doctor`",
        )
    return done.stdout.strip()


class HostCgroups:
    """Implements `lab.ports.Cgroups`; processes enter the cgroups from the host, which needs root.

    A container may die at any moment, and its cgroup with it: every method raises FaultError then.
    """

    def __init__(self, containers: Containers, clock: Clock, audit: Audit = unaudited) -> None:
        self._containers = containers
        self._clock = clock
        self._audit = audit

    def cpu_quota(self, service: str) -> CpuQuota:
        """The CPU cap in force, as the kernel has it."""
        with self._cgroup(service, "cpu") as directory:
            return read_quota(directory)

    def cpu_usage(self, service: str) -> CpuUsage:
        """The CPU counters now."""
        with self._cgroup(service, "cpu") as cpu, self._cgroup(service, "cpuacct") as cpuacct:
            return read_usage(cpu, cpuacct, self._clock.now_ms())

    def anonymous_bytes(self, service: str) -> int:
        """Anonymous memory and swap now."""
        with self._cgroup(service, "memory") as directory:
            return read_anonymous_bytes(directory)

    def burn(self, service: str, seconds: float) -> None:
        """Use one whole core inside the service's CPU cgroup for a moment, with a process of the lab."""
        with self._cgroup(service, "cpu") as cpu, self._cgroup(service, "cpuacct") as cpuacct:
            files = [str(directory / "cgroup.procs") for directory in (cpu, cpuacct)]
            asked = ["sh", "-c", _BURNER, "burner", *files, f"{seconds:g}"]
            done = subprocess.run(
                asked, capture_output=True, text=True, errors="replace", timeout=seconds + 10, check=False
            )
        if done.returncode not in (0, 124):
            raise FaultError(
                f"no load could be put on {service}'s CPU cgroup",
                where=files[0],
                last_state=f"exit {done.returncode}: {done.stderr.strip()}",
                try_="run as root, or see `lab doctor`",
            )

    def memory(self, service: str) -> MemoryUse:
        """Memory usage, limits and counters now."""
        with self._cgroup(service, "memory") as directory:
            return read_memory(directory)

    def limit_hits(self, service: str, mib: int, seconds: float) -> int:
        """How often the memory limit was hit while a process of the lab asked for `mib` of page cache.

        The kernel can take page cache back, so no process is killed for it. With 0 MiB this only watches.
        """
        with self._cgroup(service, "memory") as directory:
            return int(run_job("watch", directory, directory, state_dir(), mib, f"{seconds:g}"))

    def start_hog(self, service: str, container_id: str, token: str, mib: int) -> None:
        """Hold memory inside the memory cgroup and keep asking for page cache; returns once the memory is held."""
        self._start("hog", service, container_id, token, int(LIFETIME_S), state_dir(), mib)

    def exhaust(self, service: str, container_id: str, token: str, mib: int) -> None:
        """Take memory inside the cgroup until the kernel kills one of its processes, or `mib` are taken.

        Returns when either has happened. Whether a process was killed must be measured separately.
        """
        with self._cgroup(service, "memory", container_id) as directory:
            self._start("exhaust", service, container_id, token, EXHAUST_S, directory, mib)

    def set_memory_high(self, service: str, container_id: str, high_bytes: int) -> bool:
        """Set where the kernel begins to reclaim memory (v2 only, -1 lifts it); False on v1, which cannot do that."""
        with self._cgroup(service, "memory", container_id) as directory:
            high = directory / "memory.high"
            if not high.exists():
                return False
            self._audit("memory.high set", service, str(high_bytes))
            high.write_text("max" if high_bytes < 0 else str(high_bytes), encoding="ascii")
            return True

    def pids(self, service: str) -> PidsUse:
        """The number of processes and threads, their limit, and how many were refused so far."""
        with self._cgroup(service, "pids") as directory:
            return read_pids(directory)

    def try_forks(self, service: str, count: int) -> int:
        """How many of `count` simultaneous forks the kernel grants to a process of the lab in the pids cgroup."""
        with self._cgroup(service, "pids") as directory:
            return int(run_job("forks", directory, count))

    def _start(
        self, job: str, service: str, container_id: str, token: str, seconds: int, *arguments: object
    ) -> None:
        """Start a job that outlives this call, detached from this process, and wait for its first line."""
        with self._cgroup(service, "memory", container_id) as directory:
            self._audit(f"{job} started in the memory cgroup", service, mark(token))
            asked = ["setsid", "--fork", *command(job, seconds, [directory], arguments, mark(token))]
            with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as started:
                assert started.stdout is not None
                word = started.stdout.readline().strip()
        # A container that dies takes every process of its cgroup with it, so `exhaust` may end without a word.
        if not word and job != "exhaust":
            raise FaultError(
                f"the {job} job inside {service}'s memory cgroup ended before it held anything",
                where=str(directory),
                try_="a smaller one, or `lab doctor`",
            )

    @contextmanager
    def _cgroup(self, service: str, controller: str, container_id: str = "") -> Iterator[Path]:
        """The service's cgroup directory; what goes wrong while it is used is a FaultError that names it."""
        directory = own_directory(self._containers, service, controller, container_id)
        failed = f"the {controller} cgroup of {service} cannot be used"
        with as_fault_error(failed, where=str(directory), try_="`lab status` says whether the service runs"):
            yield directory
