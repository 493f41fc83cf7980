"""Draft directories: where things are made that appear elsewhere only when complete."""

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
    """An empty directory that is gone afterwards; what a SIGKILL leaves the next lab removes."""
    path = Path(tempfile.mkdtemp(dir=_root(), prefix=f"{_mark(psutil.Process())}-{name}-"))
    try:
        yield path
    finally:
        remove_tree(path)


def sweep_drafts() -> list[Path]:
    """Remove the drafts of labs that no longer run, and end what they had started in them; returns what was
    removed.
    """
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
    """Process id and start time, which together no other process has."""
    return f"{process.pid}.{int(process.create_time())}"


def _owner_runs(name: str) -> bool:
    mark = name.partition("-")[0]
    pid = mark.partition(".")[0]
    try:
        process = psutil.Process(int(pid)) if pid.isdecimal() else None
        # A zombie that nobody reaps (bare containers) is dead.
        return process is not None and process.status() != psutil.STATUS_ZOMBIE and _mark(process) == mark
    except psutil.Error:
        return False


def _end_orphans(draft: Path) -> None:
    """End the programs (debootstrap, go, pip) that a killed lab left at work in its draft: nobody waits for
    them.
    """
    ours = [process for process in psutil.process_iter() if _works_in(process, draft)]
    for process in ours:
        process.kill()
    psutil.wait_procs(ours, timeout=STOP_TIMEOUT_S)


def _works_in(process: psutil.Process, draft: Path) -> bool:
    """Whether a program names the draft in its arguments, or runs in it (debootstrap runs dpkg with the draft
    as root).
    """
    if process.pid == os.getpid():
        return False
    try:
        inside = Path(f"/proc/{process.pid}/root").readlink().is_relative_to(draft)
        return inside or any(str(draft) in argument for argument in process.cmdline())
    except (psutil.Error, OSError):
        return False


def remove_tree(path: Path) -> None:
    """Delete a directory tree, but first detach what is mounted below it (an interrupted debootstrap leaves
    /proc there).

    Raises WorldError, and deletes nothing, while a mount below it stays: deleting would reach into it.
    """
    if not path.exists():
        return
    for mounted in mounts_below(path):
        subprocess.run(["umount", "-l", mounted], check=False)
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
    """Go's module cache is read-only, directories included."""
    if os.geteuid() == 0:
        return
    for folder, _, _ in os.walk(path):
        Path(folder).chmod(OWNER_ONLY)


def mounts_below(path: Path, mounts: Sequence[str] | None = None) -> list[str]:
    """Mount points at or under `path`, the deepest first; `mounts` are lines of /proc/self/mounts."""
    lines = os.fsdecode(Path("/proc/self/mounts").read_bytes()).splitlines() if mounts is None else mounts
    points = [line.split()[1].encode().decode("unicode_escape") for line in lines if len(line.split()) > 1]
    prefix = f"{path}/"
    return sorted((point for point in points if point == str(path) or point.startswith(prefix)), reverse=True)
