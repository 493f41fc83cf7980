"""Finds and ends processes of the lab by the token in their arguments."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from lab.errors import FaultError

MARK = "lab-fault="
END_TIMEOUT_S = 5.0


def mark(token: str) -> str:
    """The argument by which the processes of a token are found."""
    return f"{MARK}{token}"


def is_marked(pid: int) -> bool:
    """True if a process belongs to the lab, whatever its token is."""
    return any(argument.startswith(MARK.encode()) for argument in _arguments(Path(f"/proc/{pid}")))


def marked(token: str, *, prefix: bool = False) -> list[int]:
    """The ids of the processes with a token; with `prefix`, of those whose token begins with it."""
    wanted = mark(token).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            arguments = _arguments(entry)
            if any(argument.startswith(wanted) if prefix else argument == wanted for argument in arguments):
                found.append(int(entry.name))
    return sorted(found)


def end_processes(token: str, *, prefix: bool = False) -> list[int]:
    """Send SIGKILL to every process of a token and wait until all are gone; raises FaultError for one that stays."""
    ended = marked(token, prefix=prefix)
    for pid in ended:
        # It may have ended since the search; and a process that this user may not signal stays, which is said below.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    give_up = time.monotonic() + END_TIMEOUT_S
    while left := marked(token, prefix=prefix):
        if time.monotonic() > give_up:
            raise FaultError(
                f"processes {left} of the lab did not end within {END_TIMEOUT_S:g} s of SIGKILL",
                where=mark(token),
                try_="`lab heal` again, as the user who started them",
            )
        time.sleep(0.005)
    return ended


def _arguments(entry: Path) -> list[bytes]:
    """The argument vector of a process; empty if it has ended or is a zombie."""
    try:
        return (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
