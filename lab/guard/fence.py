"""The fence between a run and its guardian: one file per run in the state directory, with a generation number.

A run may act only while the file holds the generation with which the run began. Before its guardian takes over, it
raises the generation.
"""

import glob
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.boundary import attempt
from lab.errors import WorldError
from lab.guard.undo_store import ADVICE, wrong_types
from lab.host.audit import Audit
from lab.host.machine.state import write_json
from lab.host.processes.process_handle import started_ticks
from lab.host.system_errors import as_world_error
from lab.ports import Guard, Recorder

FIRST_GENERATION = 1


@dataclass(frozen=True, slots=True)
class GuardRecord:
    """A run and its guardian, each identified by its process id and its start time in clock ticks since boot."""

    run_id: str
    project: str
    pid: int
    pid_started: float
    guardian_pid: int
    guardian_started: float
    generation: int = FIRST_GENERATION

    @property
    def run_lives(self) -> bool:
        """True if the run's process is still alive."""
        return started_ticks(self.pid) == self.pid_started


class GuardFiles:
    """The files `RUN.json`, in a directory that only its owner can enter."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with as_world_error("the directory of guardians cannot be made", where=str(directory), try_=ADVICE):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory.chmod(0o700)

    def open(self, guarded: GuardRecord) -> None:
        """Write that a run has a guardian; on disk before this returns. Raises WorldError if that fails."""
        path = self._path(guarded.run_id)
        try:
            write_json(path, asdict(guarded))
            self._sync()
        except OSError as error:
            raise _stuck("the guardian of a run cannot be written down", path, error) from error

    def generation(self, run_id: str) -> int | None:
        """The generation that may act now; None if nobody may act, as after the end of a run."""
        found = self._read(self._path(run_id))
        return None if found is None else found.generation

    def advance(self, run_id: str) -> int:
        """Raise the generation, so that the run may not act any more; on disk before this returns.

        On a full disk the file is removed instead, because without a file nobody may act. Raises WorldError if that
        fails too.
        """
        found = self._read(self._path(run_id))
        if found is None:
            return FIRST_GENERATION + 1
        generation = found.generation + 1
        try:
            self.open(GuardRecord(**{**asdict(found), "generation": generation}))
        except WorldError:
            self.close(run_id)
        return generation

    def close(self, run_id: str) -> None:
        """Remove the file of a run that has ended; none is fine. Raises WorldError if it cannot be removed."""
        path = self._path(run_id)
        try:
            path.unlink(missing_ok=True)
            # Drafts stay behind if their writer was killed.
            for draft in self._directory.glob(f".{glob.escape(path.name)}.*"):
                draft.unlink(missing_ok=True)
            self._sync()
        except OSError as error:
            raise _stuck("the file of a run that has ended cannot be removed", path, error) from error

    def all(self) -> list[GuardRecord]:
        """Every run with a guardian whose file can be read.

        Nothing is lost by leaving the others out: a run that cannot read its own file may not act. The files stay where
        they are, because they may belong to a live run of another version of the lab.
        """
        found = (self._read(path) for path in sorted(self._directory.glob("*.json")))
        return [record for record in found if record is not None]

    def _read(self, path: Path) -> GuardRecord | None:
        try:
            found = GuardRecord(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return None if [*wrong_types(found)] or path.name != f"{found.run_id}.json" else found

    def _path(self, run_id: str) -> Path:
        return self._directory / f"{run_id}.json"

    def _sync(self) -> None:
        handle = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _stuck(what: str, path: Path, error: OSError) -> WorldError:
    return WorldError(
        what,
        where=str(path),
        last_state=str(error),
        try_=ADVICE,
    )


def fenced_audit(guarded: Guard, recorder: Recorder) -> Audit:
    """The audit of a run's world: it checks the fence (FencedError), then writes a line into the run's journal.

    So the fence is checked before each single effect. If the journal cannot be written, the effect still takes place:
    it may be a heal, and the run ends at its next event anyway.
    """

    def audit(act: str, on: str, detail: str) -> None:
        guarded.check()
        attempt(lambda: recorder.record("effect", act=act, on=on, detail=detail))

    return audit
