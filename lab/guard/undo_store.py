"""Pending undos in the state directory: one file per fault, which is on disk before the fault changes anything.

They are not in the run directory, because a run directory may come from somebody else.
"""

import glob
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from lab.errors import WorldError
from lab.host.system_errors import as_world_error
from lab.model.undo import EndRun, UndoRecord, from_json, to_json

# What every file system that keeps fractions of a second can tell apart.
STEP_NS = 1_000_000
ADVICE = "free disk space, or see who changed the state directory"


class UndoFiles:
    """Implements `lab.ports.UndoStore` with files `RUN.FAULT.json`, in a directory that only its owner can enter."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with as_world_error("the directory of undos cannot be made", where=str(directory), try_=ADVICE):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory.chmod(0o700)

    def record(self, record: UndoRecord) -> None:
        """Write an undo; the file and its directory entry are on disk before this returns.

        Raises WorldError if that fails, as on a full disk: a fault that cannot be undone must not be injected.
        """
        path = self._path(record.run_id, record.fault_id)
        draft = path.with_suffix(".draft")
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump(to_json(record), file)
                file.flush()
                self._make_newest(file.fileno())
                os.fsync(file.fileno())
            os.replace(draft, path)
            self._sync_directory()
        except OSError as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise WorldError(
                "an undo cannot be written, so nothing is injected",
                where=str(path),
                last_state=str(error),
                try_=ADVICE,
            ) from error

    def done(self, run_id: str, fault_id: str) -> None:
        """Remove an undo that was carried out; none is fine. Raises WorldError if it cannot be removed."""
        path = self._path(run_id, fault_id)
        try:
            path.unlink(missing_ok=True)
            self._sync_directory()
        except OSError as error:
            raise WorldError(
                "an undo was carried out, and its file cannot be removed",
                where=str(path),
                last_state=str(error),
                try_=ADVICE,
            ) from error

    def pending(self) -> list[UndoRecord]:
        """Every undo on disk, newest first, so that faults are healed in reverse order; `EndRun` undos come last.

        Files that cannot be read are left out here, and `unreadable` names them: they must not keep the others from
        being healed.
        """
        found = [record for _, record in self._readable()]
        return sorted(found, key=lambda record: isinstance(record.undo, EndRun))

    def unreadable(self) -> list[tuple[Path, str]]:
        """The undo files that cannot be read, with the reason. The lab never guesses an undo."""
        return [(path, read) for path, read in self._all() if isinstance(read, str)]

    def forget_drafts(self, run_id: str) -> None:
        """Remove the unfinished files of a dead run: a fault whose undo is not on disk was never injected."""
        with suppress(OSError):
            for path in self._directory.glob(f"{glob.escape(run_id)}.*.draft"):
                path.unlink(missing_ok=True)

    def _readable(self) -> list[tuple[Path, UndoRecord]]:
        return [(path, read) for path, read in self._all() if isinstance(read, UndoRecord)]

    def _all(self) -> list[tuple[Path, UndoRecord | str]]:
        """Every file, newest first, with its record or what is wrong with it; one that vanishes was carried out."""
        found = []
        for path in self._directory.glob("*.json"):
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime_ns, path, _read(path)))
        return [(path, read) for _, path, read in sorted(found, key=lambda entry: entry[:2], reverse=True)]

    def _make_newest(self, descriptor: int) -> None:
        """Date a file after all others: the wall clock may have been set back, and the order of healing follows it."""
        newest_ns = max(self._times_ns(), default=0)
        if os.fstat(descriptor).st_mtime_ns <= newest_ns:
            os.utime(descriptor, ns=(newest_ns + STEP_NS, newest_ns + STEP_NS))

    def _times_ns(self) -> Iterator[int]:
        for path in self._directory.glob("*.json"):
            with suppress(FileNotFoundError):
                yield path.stat().st_mtime_ns

    def _path(self, run_id: str, fault_id: str) -> Path:
        return self._directory / f"{run_id}.{fault_id}.json"

    def _sync_directory(self) -> None:
        handle = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read(path: Path) -> UndoRecord | str:
    try:
        record = from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        return f"{type(error).__name__}: {error}"
    if wrong := [*wrong_types(record), *wrong_types(record.undo)]:
        return f"fields of a wrong type: {', '.join(wrong)}"
    if path.name != f"{record.run_id}.{record.fault_id}.json":
        return f"its content names {record.fault_id} of run {record.run_id}, and its file name does not"
    return record


_ALLOWED: dict[object, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float)}


def wrong_types(value: Any) -> Iterator[str]:
    """The names of the plain fields whose value has another type than the dataclass declares."""
    hints = get_type_hints(type(value))
    for field in fields(value):
        allowed = _ALLOWED.get(hints[field.name])
        if allowed is not None and type(getattr(value, field.name)) not in allowed:
            yield field.name
