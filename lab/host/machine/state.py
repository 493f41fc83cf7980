"""The lab's state directory: caches, saved stacks, store volumes and logs that outlive one command."""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.errors import WorldError
from lab.host.system_errors import as_world_error

OWNER_ONLY = 0o700


def state_dir() -> Path:
    """`LAB_STATE_DIR`, else the system's place as root, else the user's; made if absent, open to its owner
    only.

    Without symlinks in it, for the kernel names files by such paths (loop devices, mounts).
    """
    path = _chosen()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
        if path.stat().st_uid == os.geteuid():
            path.chmod(OWNER_ONLY)
        return path.resolve()
    except OSError as error:
        raise WorldError(
            "the state directory cannot be made",
            where=str(path),
            last_state=str(error),
            try_="set LAB_STATE_DIR to a directory that you may write",
        ) from error


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
    with as_world_error("the cache directory cannot be made", where=str(path), try_="free disk space"):
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
def machine_lock(name: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock that all labs on this machine respect; calls `waiting` once when another lab holds it."""
    path = state_dir() / f"{name}.lock"
    with as_world_error("the lock file cannot be opened", where=str(path), try_="free disk space"):
        lock = path.open("w", encoding="utf-8")
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lock_names() -> list[str]:
    """The names of all locks that were ever taken here, held or not."""
    return sorted(path.name.removesuffix(".lock") for path in state_dir().glob("*.lock"))
