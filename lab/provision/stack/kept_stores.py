"""Copies of stores that hold the verified truth, kept between runs, so that the next run need not load it again.

A copy is a folder of the cache, named after a digest of everything that decides what a loaded store holds. It appears
there by one rename, when it is complete. Its content is checked against its digest while it is copied back.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.errors import WorldError
from lab.host.machine.state import cache_directory, machine_lock
from lab.host.system_errors import as_world_error
from lab.provision.stack.sparse_copy import Content

# A different number makes every older copy useless; raise it when a copy must be made in another way.
FORM = 1
COPIES_MAX = 3
BYTES_MAX = 3 * 1000**3
# A copy is kept only where so much of the disk stays free.
FREE_BYTES_MIN = 4 * 1000**3
FACTS = "copy.json"
CONTENT = "content"
_DRAFT = ".draft-"
_KEY_CHARS = 32
# The lab's own tests set it, so that their copies do not take the place of somebody's own.
KIND = "LAB_KEPT_STORES"


@dataclass(frozen=True, slots=True)
class KeptStore:
    """One copy: its folder, the digest of its content, and how many bytes that has."""

    folder: Path
    content: Content

    @property
    def path(self) -> Path:
        """The file with the content."""
        return self.folder / CONTENT


class DamagedCopy(WorldError):
    """A copy that is not what was saved; it has been removed."""


def key_of(facts: Mapping[str, object]) -> str:
    """The name of the copy for a store that these facts describe; other facts give another name."""
    text = json.dumps({"form": FORM, **facts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_CHARS]


def _kind() -> tuple[str, ...]:
    """The kind of the copies, if the environment names one; raises WorldError for a name that no folder may have."""
    kind = os.environ.get(KIND, "")
    if kind and re.fullmatch("[a-z]{1,20}", kind) is None:
        raise WorldError(
            "the kept stores cannot have that kind",
            where=KIND,
            last_state=repr(kind),
            try_="up to 20 small letters, or nothing",
        )
    return (kind,) if kind else ()


def files_digest(folder: Path) -> str:
    """The SHA-256 of the names and contents of all files in a folder; raises WorldError for an unreadable one."""
    digest = hashlib.sha256()
    with as_world_error("the target's files cannot be read", where=str(folder), try_="check its permissions"):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            # Bytecode appears beside a target's own modules by itself.
            if path.suffix != ".pyc":
                name, content = os.fsencode(path.relative_to(folder)), path.read_bytes()
                digest.update(b"%d %d " % (len(name), len(content)) + name + content)
    return digest.hexdigest()


class KeptStores:
    """The copies in a folder of the cache; one lab at a time may use them."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = cache_directory("stores", *_kind()) if folder is None else folder

    @property
    def folder(self) -> Path:
        """Where the copies lie; those of a kind lie in a folder below the others, and are counted by themselves."""
        return self._folder

    def locked(self, waiting: Callable[[], None] = lambda: None) -> AbstractContextManager[None]:
        """Hold the lock that every use of the copies needs; `waiting` is called where another lab holds it."""
        return machine_lock("kept-stores", waiting)

    def find(self, key: str) -> KeptStore | None:
        """The copy of this name, or None. Raises DamagedCopy, and removes it, where its description is no good."""
        folder = self._folder / key
        if not folder.is_dir():
            return None
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            content = Content(str(facts["sha256"]), int(facts["data_bytes"]))
            # The newest copies are kept, and one that is used is as good as new.
            os.utime(folder / FACTS)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise self.damaged(folder, repr(error)) from error
        if not (folder / CONTENT).is_file():
            raise self.damaged(folder, f"it has no {CONTENT}")
        return KeptStore(folder, content)

    def check(self, kept: KeptStore, copied: Content) -> None:
        """Raise DamagedCopy, and remove the copy, where what was copied out of it is not what was saved."""
        if copied != kept.content:
            raise self.damaged(kept.folder, f"digest {copied.sha256[:12]}, not {kept.content.sha256[:12]}")

    def damaged(self, folder: Path, why: str) -> DamagedCopy:
        """Remove a copy and return the error that says so."""
        shutil.rmtree(folder, ignore_errors=True)
        return DamagedCopy("the kept copy of the store is damaged", where=str(folder), last_state=why)

    def save(self, key: str, facts: Mapping[str, object], fill: Callable[[Path], Content]) -> KeptStore:
        """Keep what `fill` writes to the path that it is given; the oldest copies make room.

        Raises WorldError where the disk has no room or the content is larger than all copies together may be.
        """
        self._sweep()
        self._require_room()
        with self._draft(key) as draft:
            content = fill(draft / CONTENT)
            if content.data_bytes > BYTES_MAX:
                raise WorldError(f"the store is too large to be kept: {content.data_bytes / 1e9:.1f} GB")
            described = {
                **facts,
                "form": FORM,
                "sha256": content.sha256,
                "data_bytes": content.data_bytes,
            }
            _write_durably(draft / FACTS, json.dumps(described, indent=1, sort_keys=True) + "\n")
            final = self._folder / key
            shutil.rmtree(final, ignore_errors=True)
            draft.rename(final)
            _sync(self._folder)
        self._make_room(key)
        return KeptStore(final, content)

    def remove_all(self) -> list[str]:
        """Remove every copy; returns their names."""
        with self.locked():
            found = [path for path in sorted(self._folder.iterdir()) if path.is_dir()]
            for path in found:
                shutil.rmtree(path, ignore_errors=True)
        return [f"kept store {path.name}" for path in found]

    @contextmanager
    def _draft(self, key: str) -> Iterator[Path]:
        draft = Path(tempfile.mkdtemp(dir=self._folder, prefix=f"{_DRAFT}{key}-"))
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove the drafts of labs that were killed; whoever holds the lock is the only one that has a draft."""
        for path in self._folder.glob(f"{_DRAFT}*"):
            shutil.rmtree(path, ignore_errors=True)

    def _require_room(self) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < FREE_BYTES_MIN:
            raise WorldError(
                "the disk has too little room for a copy of the store",
                where=str(self._folder),
                last_state=f"{free / 1e9:.1f} GB free",
                try_=f"free some space: {FREE_BYTES_MIN / 1e9:.0f} GB must stay free",
            )

    def _make_room(self, newest: str) -> None:
        """Remove the copies that were not used for the longest time, until number and size are in bounds."""
        total = 0
        for number, folder in enumerate(self._by_last_use(newest)):
            total += (folder / CONTENT).stat().st_blocks * 512 if (folder / CONTENT).exists() else 0
            if number >= COPIES_MAX or (number > 0 and total > BYTES_MAX):
                shutil.rmtree(folder, ignore_errors=True)

    def _by_last_use(self, newest: str) -> list[Path]:
        used = {
            path.parent: path.stat().st_mtime
            for path in self._folder.glob(f"*/{FACTS}")
            if not path.parent.name.startswith(_DRAFT)
        }
        return sorted(used, key=lambda folder: (folder.name != newest, -used[folder]))


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Force the names in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
