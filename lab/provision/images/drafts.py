"""Draft directories, for files that must appear at their final place only when they are complete."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from lab.errors import WorldError
from lab.host.machine.state import OWNER_ONLY, state_dir

STOP_TIMEOUT_S = 5.0


@contextmanager
def draft_directory(name: str) -> Iterator[Path]:
    """An empty directory that is removed at the end; after a SIGKILL the next lab removes it."""
    path = Path(tempfile.mkdtemp(dir=_root(), prefix=f"{_mark(psutil.Process())}-{name}-"))
    try:
        yield path
    finally:
        remove_tree(path)


def sweep_drafts() -> list[Path]:
    """Remove the drafts of dead labs, and end the programs that work in them; returns the removed paths."""
    stale = [path for path in _root().iterdir() if not _owner_runs(path.name)]
    for path in stale:
        _end_orphans(path)
        remove_tree(path)
    return stale


def _root() -> Path:
    path = state_dir() / "drafts"
    path.mkdir(exist_ok=True)
    return path


def _mark(process: psutil.Process) -> str:
    """The id and start time of a process; no other process has both."""
    return f"{process.pid}.{int(process.create_time())}"


def _owner_runs(name: str) -> bool:
    mark = name.partition("-")[0]
    pid = mark.partition(".")[0]
    try:
        process = psutil.Process(int(pid)) if pid.isdecimal() else None
        # A zombie counts as dead; in a bare container nobody may reap it.
        return process is not None and process.status() != psutil.STATUS_ZOMBIE and _mark(process) == mark
    except psutil.Error:
        return False


def _end_orphans(draft: Path) -> None:
    """End the programs (debootstrap, go, pip) of a killed lab that still work in its draft."""
    ours = [process for process in psutil.process_iter() if _works_in(process, draft)]
    for process in ours:
        process.kill()
    psutil.wait_procs(ours, timeout=STOP_TIMEOUT_S)


def _works_in(process: psutil.Process, draft: Path) -> bool:
    """True if a process has the draft in its arguments, or as its root (debootstrap runs dpkg that way)."""
    if process.pid == os.getpid():
        return False
    try:
        inside = Path(f"/proc/{process.pid}/root").readlink().is_relative_to(draft)
        return inside or any(str(draft) in argument for argument in process.cmdline())
    except (psutil.Error, OSError):
        return False


def remove_tree(path: Path) -> None:
    """Delete a directory tree, after unmounting everything below it: an interrupted debootstrap leaves /proc mounted.

    If something stays mounted, this raises WorldError and deletes nothing, because it would delete the mounted files.
    """
    if not path.exists():
        return
    for mounted in mounts_below(path):
        subprocess.run(["umount", "-l", mounted], check=False, timeout=STOP_TIMEOUT_S)
    left = mounts_below(path)
    if left:
        raise WorldError(
            "a temporary directory still has something mounted in it",
            where=str(path),
            last_state=", ".join(left),
            try_=f"umount {left[0]}",
        )
    _make_writable(path)
    shutil.rmtree(path, ignore_errors=False)


def _make_writable(path: Path) -> None:
    """Make all directories writable; those of Go's module cache are not."""
    if os.geteuid() == 0:
        return
    for folder, _, _ in os.walk(path):
        Path(folder).chmod(OWNER_ONLY)


def mounts_below(path: Path, mounts: Sequence[str] | None = None) -> list[str]:
    """The mount points at or below `path`, the deepest first; `mounts` are lines of /proc/self/mounts."""
    lines = os.fsdecode(Path("/proc/self/mounts").read_bytes()).splitlines() if mounts is None else mounts
    points = [line.split()[1].encode().decode("unicode_escape") for line in lines if len(line.split()) > 1]
    prefix = f"{path}/"
    return sorted((point for point in points if point == str(path) or point.startswith(prefix)), reverse=True)
