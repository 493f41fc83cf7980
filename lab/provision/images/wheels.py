"""Downloads Python packages on the host and checks their hashes, because a build cannot reach a package index."""

import hashlib
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import WorldError
from lab.host.machine.shell import Runner
from lab.host.machine.state import cache_directory
from lab.provision.images.drafts import draft_directory

PYTHON = "3.11"
DOWNLOAD_TIMEOUT_S = 420.0
# pip takes a wheel that fits one of them; the glibc of the base image is 2.36.
PLATFORMS = (
    "manylinux1",
    "manylinux2010",
    "manylinux2014",
    *(f"manylinux_2_{minor}" for minor in range(17, 37)),
)
REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


def locked_files(folder: Path) -> list[Path]:
    """The requirement files of a folder that pin packages by hash."""
    return [path for path in sorted(folder.glob("*.txt")) if "--hash=" in path.read_text(encoding="utf-8")]


def wheelhouse(locks: Sequence[Path], runner: Runner) -> Path:
    """A cached directory with the wheels of all `locks`; it is downloaded once, and appears only when complete."""
    key = hashlib.sha256(b"\0".join([platform.machine().encode(), *(path.read_bytes() for path in locks)]))
    done = cache_directory("wheels") / key.hexdigest()[:16]
    if done.is_dir():
        return done
    with draft_directory("wheels") as draft:
        for lock in locks:
            _download(lock, draft, runner)
        if not done.is_dir():
            draft.rename(done)
    return done


def _download(lock: Path, into: Path, runner: Runner) -> None:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    command = [*pip, *_flags(), "-d", str(into), "-r", str(lock)]
    outcome = runner.run(command, timeout_s=DOWNLOAD_TIMEOUT_S)
    missing = missing_wheels(lock.read_text(encoding="utf-8"), [path.name for path in into.iterdir()])
    outcome.require(
        "Python packages could not be downloaded",
        where=str(lock),
        try_="check whether this machine reaches its Python package index, then run this again",
    )
    if missing:
        raise WorldError(
            f"pip left out {', '.join(missing)}",
            where=str(lock),
            last_state=outcome.tail(),
            try_="lock the requirements again without markers that exclude Linux",
        )


def _flags() -> list[str]:
    machine = platform.machine()
    names = [f"{name}_{machine}" for name in PLATFORMS if machine == "x86_64" or name not in PLATFORMS[:2]]
    platforms = [flag for name in [*names, f"linux_{machine}"] for flag in ("--platform", name)]
    fixed = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation", "cp"]
    return [*fixed, "--python-version", PYTHON, *platforms]


def missing_wheels(lock: str, files: Sequence[str]) -> list[str]:
    """The pinned packages of a lock that no file provides; lines with an environment marker may be left out."""
    present = {_normal(name.split("-")[0]) for name in files}
    marked = {_normal(line.split("==")[0]) for line in lock.splitlines() if "==" in line and ";" in line}
    pinned = [match[1] for match in REQUIREMENT.finditer(lock)]
    return [name for name in pinned if _normal(name) not in present | marked]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
