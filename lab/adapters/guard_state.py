"""Where the guard keeps its files on this machine: pending undos, and who guards which run."""

from lab.adapters.fence import GuardFiles
from lab.adapters.provision.state import state_dir
from lab.adapters.undo_store import UndoFiles


def undo_files() -> UndoFiles:
    """The pending undos of this machine."""
    return UndoFiles(state_dir() / "undo")


def guard_files() -> GuardFiles:
    """Who guards which run on this machine."""
    return GuardFiles(state_dir() / "guards")
