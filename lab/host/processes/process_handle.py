"""One process held through a pidfd: its end is learnt at once, and no signal can hit another that got its id."""

import os
import select
import signal
from contextlib import suppress
from pathlib import Path

from lab.host.system_errors import as_world_error
from lab.model.undo import UndoRecord

# Where the start time (field 22 of proc_pid_stat(5)) stands among the fields after the name.
START_FIELD = 19
ADVICE = "run as the user who started it, or as root"


class ProcessHandle:
    """A process that was alive when it was taken hold of; see `open_process`."""

    def __init__(self, pid: int, handle: int) -> None:
        self.pid = pid
        self.handle = handle

    def has_ended(self, within_s: float = 0.0) -> bool:
        """Whether it has ended, waiting for at most so long; a zombie has ended."""
        poll = select.poll()
        poll.register(self.handle, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

    def signal(self, number: int) -> None:
        """Send a signal; one that has ended already is fine."""
        with (
            as_world_error(f"process {self.pid} cannot be signalled", where=f"signal {number}", try_=ADVICE),
            suppress(ProcessLookupError),
        ):
            signal.pidfd_send_signal(self.handle, number)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.handle)


def open_process(pid: int, started: float) -> ProcessHandle | None:
    """The process of this id *and* start time (clock ticks since boot); None where that very one has ended."""
    if pid <= 0:
        return None
    with as_world_error(f"process {pid} cannot be opened", where=f"/proc/{pid}", try_=ADVICE):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
    # The handle first: what is compared now is the very process that the handle holds, or the id is free again.
    if started_ticks(pid) != started:
        os.close(handle)
        return None
    return ProcessHandle(pid, handle)


def child_commands(pid: int) -> list[int]:
    """The children of a process in its own process group, and theirs, as the commands are that it waits for."""
    every = {
        int(entry.name): _parent_and_group(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()
    }
    group, found = every.get(pid, (0, 0))[1], [pid]
    for parent in found:
        found += [one for one, of in every.items() if group and of == (parent, group)]
    return found[1:]


def _parent_and_group(process: Path) -> tuple[int, int]:
    """Fields 4 and 5 of proc_pid_stat(5); zeros where there is no such process."""
    try:
        stat = (process / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0, 0
    fields = stat.rpartition(")")[2].split()
    return (int(fields[1]), int(fields[2])) if len(fields) > 2 else (0, 0)


def own_process() -> tuple[int, float]:
    """This process's id and start time, which together no other living process has."""
    pid = os.getpid()
    started = started_ticks(pid)
    return pid, started if started is not None else 0.0


def is_alive(record: UndoRecord) -> bool:
    """Whether the run that recorded an undo still lives: same process id *and* same start time."""
    return started_ticks(record.pid) == record.pid_started


def started_ticks(pid: int) -> float | None:
    """Start time in clock ticks since boot (proc_pid_stat(5), field 22), which no clock adjustment moves."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    if len(fields) <= START_FIELD or fields[0] == "Z":
        return None
    return float(fields[START_FIELD])
