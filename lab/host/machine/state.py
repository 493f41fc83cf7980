"""The lab's state directory: it holds caches, saved stacks, store volumes and logs between commands."""

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
    """The state directory: `LAB_STATE_DIR`, or a system folder for root, or a folder of the user.

    It is created if necessary, and only its owner may enter it. The path has no symlinks, because the kernel reports
    such paths for loop devices and mounts.
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
    """A directory below the cache, created if necessary; everything in the cache can be made again."""
    path = state_dir().joinpath("cache", *parts)
    with as_world_error("the cache directory cannot be made", where=str(path), try_="free disk space"):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file so that a reader sees the old or the new content, even after a crash."""
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
    """Write a value as JSON, atomically and with sorted keys."""
    write_atomically(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


@contextmanager
def machine_lock(name: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock of this machine; if another lab holds it, `waiting` is called once, then this waits."""
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
    """The names of all locks that were ever used here, whether they are held now or not."""
    return sorted(path.name.removesuffix(".lock") for path in state_dir().glob("*.lock"))
