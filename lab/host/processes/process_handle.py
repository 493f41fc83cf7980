"""A handle (pidfd) of one process: it shows the end of the process at once, and its signals reach no other one."""

import os
import select
import signal
import time
from contextlib import suppress
from pathlib import Path

from lab.host.system_errors import as_world_error
from lab.model.undo import UndoRecord

# The index of the start time (field 22 of proc_pid_stat(5)) among the fields after the name.
START_FIELD = 19
ADVICE = "run as the user who started it, or as root"


class ProcessHandle:
    """A process that was alive when `open_process` opened it."""

    def __init__(self, pid: int, handle: int) -> None:
        self.pid = pid
        self.handle = handle

    def has_ended(self, within_s: float = 0.0) -> bool:
        """Wait up to `within_s` seconds for the process to exit; a zombie counts as exited."""
        poll = select.poll()
        poll.register(self.handle, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

    def signal(self, number: int) -> None:
        """Send a signal; it is fine if the process has ended already."""
        with (
            as_world_error(f"process {self.pid} cannot be signalled", where=f"signal {number}", try_=ADVICE),
            suppress(ProcessLookupError),
        ):
            signal.pidfd_send_signal(self.handle, number)

    def close(self) -> None:
        """Close the handle."""
        os.close(self.handle)


def open_process(pid: int, started: float) -> ProcessHandle | None:
    """The process with this id *and* start time (clock ticks since boot); None if that process has ended."""
    if pid <= 0:
        return None
    with as_world_error(f"process {pid} cannot be opened", where=f"/proc/{pid}", try_=ADVICE):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
    # The comparison comes after the opening, so it is about the process of the handle.
    if started_ticks(pid) != started:
        os.close(handle)
        return None
    return ProcessHandle(pid, handle)


def child_commands(pid: int) -> list[int]:
    """The descendants of a process in its own process group: the commands that it runs and waits for."""
    every = {
        int(entry.name): _parent_and_group(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()
    }
    group, found = every.get(pid, (0, 0))[1], [pid]
    for parent in found:
        found += [child for child, of in every.items() if group and of == (parent, group)]
    return found[1:]


def _parent_and_group(process: Path) -> tuple[int, int]:
    """Fields 4 and 5 of proc_pid_stat(5); zeros if there is no such process."""
    try:
        stat = (process / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0, 0
    fields = stat.rpartition(")")[2].split()
    return (int(fields[1]), int(fields[2])) if len(fields) > 2 else (0, 0)


def own_process() -> tuple[int, float]:
    """The id and the start time of this process; no other living process has both."""
    pid = os.getpid()
    started = started_ticks(pid)
    return pid, started if started is not None else 0.0


def own_age_s() -> float:
    """How long this process has been running, in seconds."""
    now_s, started = time.clock_gettime(time.CLOCK_BOOTTIME), own_process()[1]
    return max(0.0, now_s - started / os.sysconf("SC_CLK_TCK"))


def is_alive(record: UndoRecord) -> bool:
    """True if the run that recorded an undo is alive: a process with the same id *and* start time exists."""
    return started_ticks(record.pid) == record.pid_started


def started_ticks(pid: int) -> float | None:
    """The start time in clock ticks since boot (proc_pid_stat(5), field 22); clock adjustments do not change it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    if len(fields) <= START_FIELD or fields[0] == "Z":
        return None
    return float(fields[START_FIELD])
