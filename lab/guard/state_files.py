"""Where the guard keeps its files on this machine: pending undos, and who guards which run."""

from lab.guard.fence import GuardFiles
from lab.guard.undo_store import UndoFiles
from lab.host.machine.state import state_dir


def undo_files() -> UndoFiles:
    """The pending undos of this machine."""
    return UndoFiles(state_dir() / "undo")


def guard_files() -> GuardFiles:
    """Who guards which run on this machine."""
    return GuardFiles(state_dir() / "guards")
