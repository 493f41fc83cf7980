"""The build context of an image, and the hash of its content, which is the image's tag."""

import hashlib
import platform
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from docker.utils.build import exclude_paths

from lab.errors import WorldError
from lab.provision.images.image_specs import BuildSpec

# Increase this when a change of the lab's own code changes the content of images.
RECIPE_VERSION = 2
HASH_CHARS = 16
# Files that only the lab reads, or that tools leave behind: a change of them must not cause a build.
IGNORED = (
    "target.yaml",
    "known-issues.yaml",
    "*.md",
    "*.in",
    "**/__pycache__",
    "**/*.pyc",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
)


def context_files(folder: Path) -> list[str]:
    """The files of a build context as sorted relative paths; `.dockerignore` has its usual effect."""
    ignore = folder / ".dockerignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    found: Iterable[str] = exclude_paths(str(folder), [*IGNORED, *patterns])
    return sorted(path for path in found if (folder / path).is_symlink() or (folder / path).is_file())


def needs_base(folder: Path) -> bool:
    """True if the Dockerfile uses the lab's base image (`ARG BASE_IMAGE`)."""
    return "BASE_IMAGE" in dockerfile(folder)


def dockerfile(folder: Path) -> str:
    """The text of the Dockerfile; raises WorldError if there is none."""
    try:
        return (folder / "Dockerfile").read_text(encoding="utf-8")
    except OSError as error:
        raise WorldError(
            "an image cannot be built without its Dockerfile",
            where=str(folder),
            last_state=str(error),
            try_="restore the folder from the repository (`git checkout`)",
        ) from error


def content_hash(build: BuildSpec, base_ref: str) -> str:
    """A hash, as 16 hex digits, of recipe, base image, machine, and every file (path, executable bit, bytes)."""
    digest = hashlib.sha256()
    base = base_ref if needs_base(build.folder) else ""
    for word in (str(RECIPE_VERSION), build.recipe, build.go_package, base, platform.machine()):
        _add(digest, word.encode())
    for name in context_files(build.folder):
        path = build.folder / name
        _add(digest, name.encode())
        if path.is_symlink():
            _add(digest, b"link" + str(path.readlink()).encode())
        else:
            _add(digest, b"x" if path.stat().st_mode & 0o100 else b"-")
            _add(digest, path.read_bytes())
    return digest.hexdigest()[:HASH_CHARS]


def _add(digest: "hashlib._Hash", data: bytes) -> None:
    """Add the length before the data, so that a byte that moves from one file to the next changes the hash."""
    digest.update(len(data).to_bytes(8, "big"))
    digest.update(data)


def write_context(tar: Path, folder: Path, extra: Mapping[str, Path]) -> None:
    """Pack the folder's files and `extra` (name in the context -> file) into a tar file without owners and times."""
    with tarfile.open(tar, "w") as archive:
        for name in context_files(folder):
            archive.add(folder / name, name, recursive=False, filter=_anonymous)
        for name, path in sorted(extra.items()):
            archive.add(path, name, recursive=False, filter=_anonymous)


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info
