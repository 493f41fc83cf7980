"""Checks the folder for run directories before a stack is started."""

import errno
import os
import tempfile
from pathlib import Path

from lab.errors import LabError, ScenarioError, WorldError

# Errors of the machine. Any other error means that the user named an unsuitable folder.
_LACKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE)


def require_runs(runs: Path) -> None:
    """Check that a run directory can be made under `runs`, and that `latest` can point to it; raises LabError if not.

    A `latest` that is no symlink belongs to the user. It is refused, because replacing it would delete it.
    """
    require_folder(runs, "--runs", link=True)
    latest = runs / "latest"
    if os.path.lexists(latest) and not latest.is_symlink():
        raise ScenarioError(
            "`latest` is to point to the newest run, and here it is no symlink",
            where=str(latest),
            last_state="a directory" if latest.is_dir() else "a file",
            try_="move it away, or take another --runs FOLDER",
        )


def require_folder(folder: Path, option: str, *, link: bool = False) -> None:
    """Create a folder if necessary, and check that folders (and symlinks) can be made in it; raises LabError if not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".trial-", dir=folder) as trial:
            if link:
                (Path(trial) / "latest").symlink_to("run")
    except OSError as error:
        raise _unusable(folder, option, error) from error


def _unusable(folder: Path, option: str, error: OSError) -> LabError:
    kind = WorldError if error.errno in _LACKS else ScenarioError
    seen = "it exists and is no folder" if isinstance(error, FileExistsError) else error.strerror
    return kind(
        f"nothing can be written to the folder of {option}",
        where=str(folder),
        last_state=seen or str(error),
        try_=f"{option} FOLDER, one that can be made here or that you may write to",
    )
