"""Processes that the lab starts for a fault, and measurements of the processes in a container."""

import itertools
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from lab.errors import FaultError, GoneError
from lab.host.audit import Audit, unaudited
from lab.host.cgroups.cgroup_files import read_usage
from lab.host.cgroups.cgroups import cgroup_dir
from lab.host.network.namespaces import belongs, namespace_of
from lab.host.processes.marks import end_processes, is_marked, mark, marked
from lab.host.processes.process_handle import open_process, started_ticks
from lab.host.system_errors import as_fault_error
from lab.ports.containers import Containers, ContainerState
from lab.ports.processes import CpuLoad, OpenFiles
from lab.repository import ROOT

READY_TIMEOUT_S = 15.0
MEASURE_S = 0.3
# proc_net_tcp: states of a socket.
ESTABLISHED, LISTEN = "01", "0A"
NS_PER_S = 1e9
DEAD = "`lab status` says whether the service runs"


class HostProcesses:
    """Implements `lab.ports.Processes`; tokens begin with `owner`, the id of the run. Some methods need root."""

    def __init__(self, owner: str, audit: Audit = unaudited) -> None:
        self._owner = owner
        self._audit = audit
        self._numbers = itertools.count(1)
        self._started: list[subprocess.Popen[str]] = []

    def new_token(self, kind: str) -> str:
        """A new token, which is unique."""
        return f"{self._owner}.{kind}-{next(self._numbers)}-{os.urandom(3).hex()}"

    def end(self, token: str) -> list[int]:
        """End all processes of a token; none is fine."""
        ended = end_processes(token)
        if ended:
            self._audit("ended", token, f"processes {ended}")
        self._started = [process for process in self._started if process.poll() is None]
        return ended

    def running(self, token: str) -> list[int]:
        """The ids of the living processes of a token."""
        return marked(token)

    def burn(
        self, containers: Containers, state: ContainerState, token: str, burners: int, seconds: float
    ) -> None:
        """Use `burners` cores inside the container's CPU cgroup until `end`, for at most `seconds`."""
        pid = _inside(containers, state)
        # On cgroup v1, limiting (cpu) and counting (cpuacct) may be two hierarchies: a burner must be in both.
        entries = [str(_cgroup(pid, state.id, name) / "cgroup.procs") for name in ("cpu", "cpuacct")]
        self.begin(token, state, "burn", *entries, str(burners), str(seconds))

    def cpu_load(self, containers: Containers, state: ContainerState) -> CpuLoad:
        """Measure the lab's burners in the container's CPU cgroup for 0.3 s.

        Source: kernel documentation, scheduler/sched-stats (`/proc/PID/schedstat`: ns run, ns waited to run).
        """
        pid = _inside(containers, state)
        cpu, acct = (_cgroup(pid, state.id, name) for name in ("cpu", "cpuacct"))
        with as_fault_error(f"the CPU cgroup of {state.service} cannot be read", where=str(cpu), try_=DEAD):
            ours = [pid for pid in _members(cpu) if is_marked(pid)]
            start, usage, began = [_schedule(pid) for pid in ours], read_usage(cpu, acct, 0), time.monotonic()
            time.sleep(MEASURE_S)
            end, used = [_schedule(pid) for pid in ours], read_usage(cpu, acct, 0)
            span = time.monotonic() - began
        ran = sum(max(0, b[0] - a[0]) for a, b in zip(start, end, strict=True)) / NS_PER_S
        waited = sum(max(0, b[1] - a[1]) for a, b in zip(start, end, strict=True)) / NS_PER_S
        total = (used.usage_us - usage.usage_us) / 1e6
        return CpuLoad(len(ours), (ran + waited) / span, ran / span, total / span)

    def crash(
        self, containers: Containers, state: ContainerState, token: str, every_s: float, seconds: float
    ) -> None:
        """Kill exactly this container and start it again, every `every_s` seconds, for at most `seconds`."""
        _inside(containers, state)
        self.begin(token, state, "crash", state.service, state.id, str(every_s), str(seconds))

    def connect(
        self, containers: Containers, state: ContainerState, token: str, count: int, seconds: float
    ) -> None:
        """Hold `count` idle connections to the server, from inside its network namespace; closed ones are replaced."""
        port = min(_listeners(_inside(containers, state), state))
        with namespace_of(containers.state(state.service)) as namespace:
            arguments = (str(namespace), str(port), str(count), str(seconds))
            self.begin(token, state, "connect", *arguments, keep=(namespace,))

    def connection_count(self, containers: Containers, state: ContainerState) -> int:
        """The number of established connections at the server's port, as its own network namespace shows them."""
        pid = _inside(containers, state)
        port = min(_listeners(pid, state))
        with _readable(state):
            return sum(1 for local, kind, _ in _sockets(pid) if local == port and kind == ESTABLISHED)

    def open_files(self, containers: Containers, state: ContainerState) -> OpenFiles:
        """The open files of the process that listens; it need not be the container's first one (`docker-init`)."""
        pid = _inside(containers, state)
        listeners = _listeners(pid, state)
        server = listeners[min(listeners)]
        began = started_ticks(server)
        if began is None:
            raise GoneError(f"{state.service} ended while it was measured", where=state.name)
        with _readable(state):
            soft, hard = resource.prlimit(server, resource.RLIMIT_NOFILE)
            return OpenFiles(server, began, len(os.listdir(f"/proc/{server}/fd")), soft, hard)

    def limit_open_files(self, container_id: str, files: OpenFiles) -> bool:
        """Set the limits of exactly this process; False if it has ended. Another process with its id is left alone."""
        server = open_process(files.pid, files.pid_started)
        if server is None:
            return False
        try:
            if not belongs(files.pid, container_id):
                raise FaultError(
                    f"process {files.pid} is not in container {container_id[:12]}",
                    where=f"process {files.pid}",
                    try_="nothing: processes of others are left alone",
                )
            self._audit("limited", f"process {files.pid}", f"open files {files.soft} of {files.hard}")
            resource.prlimit(files.pid, resource.RLIMIT_NOFILE, (files.soft, files.hard))
        except (PermissionError, ValueError) as error:
            raise FaultError(
                f"the limit of open files of process {files.pid} cannot be set",
                where=f"container {container_id[:12]}",
                last_state=f"{error}; asked for {files.soft} of {files.hard}",
                try_="run as root",
            ) from error
        except ProcessLookupError:
            return False
        finally:
            server.close()
        return True

    def begin(
        self, token: str, state: ContainerState, act: str, *arguments: str, keep: tuple[int, ...] = ()
    ) -> None:
        """Start a process and wait until it is ready; raises FaultError with its output if it does not become ready."""
        self._audit(f"began to {act}", state.name, token)
        command = [sys.executable, "-m", "lab.host.processes.demand", mark(token), act, *arguments]
        with as_fault_error(f"no process could be started to {act}", where=state.name, try_="`lab doctor`"):
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=keep,
                start_new_session=True,
                cwd=ROOT,
            )
        self._started.append(process)
        assert process.stdout is not None
        with process.stdout as output:
            readable, _, _ = select.select([output], [], [], READY_TIMEOUT_S)
            line = output.readline() if readable else f"nothing printed within {READY_TIMEOUT_S:g} s"
            if line != "ready\n":
                end_processes(token)
                raise FaultError(
                    f"could not {act} {state.service}",
                    where=state.name,
                    last_state=line.strip() or "it ended",
                    try_="`lab doctor`",
                )


def _inside(containers: Containers, state: ContainerState) -> int:
    """The first process of the container, after another check that it belongs to exactly this container."""
    now = containers.state(state.service)
    if now.id != state.id:
        raise GoneError(f"{state.service} is no longer the same container", where=now.name)
    if not now.running or not belongs(now.pid, state.id):
        raise FaultError(f"{state.service} does not run", where=now.name, try_="`lab up`")
    return now.pid


def _readable(state: ContainerState) -> AbstractContextManager[None]:
    """Turn what cannot be read of a container's processes into a FaultError: they may end at any moment."""
    return as_fault_error(f"the processes of {state.service} cannot be read", where=state.name, try_=DEAD)


def _cgroup(pid: int, container_id: str, controller: str) -> Path:
    found = cgroup_dir(pid, controller)
    if container_id not in str(found):
        raise FaultError(
            f"{found} is not the cgroup of container {container_id[:12]}", where=f"process {pid}"
        )
    return found


def _members(cgroup: Path) -> list[int]:
    return [int(line) for line in (cgroup / "cgroup.procs").read_text(encoding="utf-8").split()]


def _schedule(pid: int) -> tuple[int, int]:
    """The nanoseconds that a process ran, and waited to run; zeros if it has ended."""
    try:
        run, wait, *_ = Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()
        return int(run), int(wait)
    except (OSError, ValueError):
        return 0, 0


def _sockets(pid: int) -> Iterator[tuple[int, str, str]]:
    """Local port, state and inode of each TCP socket in a process's network namespace. Source: proc_net_tcp."""
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text(encoding="utf-8").splitlines()[1:]:
            fields = line.split()
            yield int(fields[1].rpartition(":")[2], 16), fields[3], fields[9]


def _links(pid: int) -> Iterator[str]:
    """The targets of a process's file descriptors; those that are closed meanwhile are left out."""
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{name}")


def _listeners(pid: int, state: ContainerState) -> dict[int, int]:
    """The container's processes by the port on which they listen; raises FaultError if none does."""
    found = {}
    with _readable(state):
        ports = {f"socket:[{inode}]": port for port, kind, inode in _sockets(pid) if kind == LISTEN}
        for member in _members(_cgroup(pid, state.id, "memory")):
            found.update({ports[link]: member for link in _links(member) if link in ports})
    if not found:
        raise FaultError(f"no process of {state.service} listens", where=state.name, try_="`lab status`")
    return found
