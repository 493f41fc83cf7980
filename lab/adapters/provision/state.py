"""The lab's state directory: caches, saved stacks, store volumes and logs that outlive one command."""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.errors import WorldError

OWNER_ONLY = 0o700
DRAFTS = "drafts"


def state_dir() -> Path:
    """`LAB_STATE_DIR`, else the system's place as root, else the user's; made if absent, open to its owner
    only.
    """
    path = _chosen()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
        if path.stat().st_uid == os.geteuid():
            path.chmod(OWNER_ONLY)
    except OSError as error:
        raise WorldError(
            "the state directory cannot be made",
            where=str(path),
            last_state=str(error),
            try_="set LAB_STATE_DIR to a directory that you may write",
        ) from error
    return path


def _chosen() -> Path:
    asked = os.environ.get("LAB_STATE_DIR")
    if asked:
        return Path(asked).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/chaos-soak-lab")
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "chaos-soak-lab"


def cache_directory(*parts: str) -> Path:
    """A directory below the state directory's cache, made if absent; all in it can be made again."""
    path = state_dir().joinpath("cache", *parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace `path` by `text` so that a reader, or a crash, sees the old or the new file and nothing
    between.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(mode)
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys sorted."""
    write_atomically(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


@contextmanager
def draft_directory(name: str) -> Iterator[Path]:
    """An empty directory that is gone afterwards; what a SIGKILL leaves the next lab removes."""
    root = state_dir() / DRAFTS
    root.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=root, prefix=f"{os.getpid()}-{name}-"))
    try:
        yield path
    finally:
        remove_tree(path)


def sweep_drafts() -> list[Path]:
    """Remove the draft directories of processes that no longer run; returns what was removed."""
    root = state_dir() / DRAFTS
    stale = [path for path in root.glob("*-*") if not _runs(path.name.partition("-")[0])]
    for path in stale:
        remove_tree(path)
    return stale


def _runs(pid: str) -> bool:
    return pid.isdigit() and Path("/proc", pid).exists()


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
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines() if mounts is None else mounts
    points = [line.split()[1].encode().decode("unicode_escape") for line in lines if len(line.split()) > 1]
    prefix = f"{path}/"
    return sorted((point for point in points if point == str(path) or point.startswith(prefix)), reverse=True)


@contextmanager
def machine_lock(name: str) -> Iterator[None]:
    """Hold a lock that all labs on this machine respect; waits as long as another one works."""
    path = state_dir() / f"{name}.lock"
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
