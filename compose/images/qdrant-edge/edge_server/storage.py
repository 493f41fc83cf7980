"""Files on disk: atomic JSON, removal that cannot be half-seen, syncing, free space.

Layout below the storage folder:

    collections/NAME/collection.json      the commit point: a collection exists when this file does
    collections/NAME/gen-UUID/            the engine's shard; collection.json names the one in use
    trash/UUID/                           deleted collections, removed in the background and at start
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

META = "collection.json"
COLLECTIONS = "collections"
TRASH = "trash"

FREE_BYTES_MIN = 64 * 2**20
"""Writes are refused below this: the engine maps its files, and a full disk under a mapping kills (SIGBUS).

Two write-ahead log segments of 32 MiB; Qdrant refuses by the same rule.
"""


def write_json(path: Path, value: Any) -> None:
    """Replace a file so that a kill at any moment leaves the old content or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """The parsed content of a JSON file."""
    return json.loads(path.read_text())


def sync_folder(path: Path) -> None:
    """Make a folder's entries durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """Sync every file below a folder; what vanishes meanwhile is skipped: the engine replaces its files."""
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                descriptor = os.open(Path(folder, name), os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def to_trash(path: Path, storage: Path) -> Path:
    """Move a folder out of sight in one step; returns where it is now."""
    trash = storage / TRASH / uuid4().hex
    trash.parent.mkdir(parents=True, exist_ok=True)
    path.rename(trash)
    sync_folder(path.parent)
    return trash


def remove_tree(path: Path) -> None:
    """Remove a folder and all below it; what is gone already is fine."""
    shutil.rmtree(path, ignore_errors=True)


def free_bytes(path: Path) -> int:
    """Room left for unprivileged writers on the file system of `path`."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize
