"""Pending undos in the state directory: one file per fault, on disk before a fault touches anything.

They live here and not in the run directory, for a run directory may come from somebody else.
"""

import json
import os
from pathlib import Path

from lab.errors import WorldError
from lab.model.undo import UndoRecord, from_json, to_json


class UndoFiles:
    """Implements `lab.ports.UndoStore` with files `<run>.<fault>.json` in a directory only its owner can enter."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)

    def record(self, record: UndoRecord) -> None:
        """Write and force to disk, file and directory, before returning."""
        path = self._path(record.run_id, record.fault_id)
        draft = path.with_suffix(".draft")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(to_json(record), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        self._sync_directory()

    def done(self, run_id: str, fault_id: str) -> None:
        """Forget an undo that was carried out; one that is gone already is fine."""
        self._path(run_id, fault_id).unlink(missing_ok=True)
        self._sync_directory()

    def pending(self) -> list[UndoRecord]:
        """Every undo on disk, newest first, so that healing goes in reverse.

        Raises WorldError for one that cannot be read: guessing an undo is worse than asking.
        """
        paths = sorted(self._directory.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [self._read(path) for path in paths]

    def _read(self, path: Path) -> UndoRecord:
        try:
            return from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise WorldError(
                "a pending undo cannot be read",
                where=str(path),
                last_state=str(error),
                try_="look at the file; `lab down --all` removes the stack that it belongs to, then delete the file",
            ) from error

    def _path(self, run_id: str, fault_id: str) -> Path:
        return self._directory / f"{run_id}.{fault_id}.json"

    def _sync_directory(self) -> None:
        handle = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def own_process() -> tuple[int, float]:
    """This process's id and start time, which together no other living process has."""
    pid = os.getpid()
    started = _started_ticks(pid)
    return pid, started if started is not None else 0.0


def is_alive(record: UndoRecord) -> bool:
    """Whether the run that recorded an undo still lives: same process id *and* same start time."""
    return _started_ticks(record.pid) == record.pid_started


def _started_ticks(pid: int) -> float | None:
    """Start time in clock ticks since boot (proc_pid_stat(5), field 22), which no clock adjustment moves."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else float(fields[19])
