"""The guard's files on this machine: pending undos, and which run has which guardian."""

from lab.guard.fence import GuardFiles
from lab.guard.undo_store import UndoFiles
from lab.host.machine.state import state_dir


def undo_files() -> UndoFiles:
    """The pending undos of this machine."""
    return UndoFiles(state_dir() / "undo")


def guard_files() -> GuardFiles:
    """The runs of this machine and their guardians."""
    return GuardFiles(state_dir() / "guards")
