"""Checks the other files of a target's folder: a Dockerfile, and requirements with hashes and without addresses."""

import re
from collections.abc import Iterator
from pathlib import Path

from lab.read.strict_yaml import Problem, shown

BYTES_MAX = 4 * 1024 * 1024
_REQUIREMENT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])?\s*(===?|[<>~!]=?|@)")


def file_problems(folder: Path) -> Iterator[Problem]:
    """All problems of the files of a target's folder."""
    if not (folder / "Dockerfile").is_file():
        yield Problem(
            "there is no Dockerfile", f"{folder}/Dockerfile:1", "docs/targets.md says what it must do"
        )
    for path in sorted(folder.glob("*.txt")):
        try:
            text = path.read_bytes()[:BYTES_MAX].decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            yield Problem("the file cannot be read", f"{path}:1", str(error))
            continue
        if path.name.startswith("requirements") or any(map(_REQUIREMENT.match, text.splitlines())):
            yield from _lock_problems(path, text)


def _lock_problems(path: Path, text: str) -> Iterator[Problem]:
    for number, line in _logical_lines(text):
        where, first = f"{path}:{number}", line.split()[0]
        if "://" in line or re.search(r"\s@\s", line):
            yield Problem("requirements name an address", where, "pip-compile --no-emit-index-url")
        elif line.startswith("-") and first != "--require-hashes":
            yield Problem(f"the option {shown(first)} is not accepted in requirements", where)
        elif not line.startswith("-") and ("==" not in line or "--hash=sha256:" not in line):
            yield Problem(f"{shown(first)} is not pinned by hash", where, "pip-compile --generate-hashes")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, each with its number; lines that end in a backslash are joined with the next one."""
    joined, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        start = start or number
        joined += re.sub(r"(^|\s)#.*$", "", line).removesuffix("\\") + " "
        if line.endswith("\\"):
            continue
        if joined.strip():
            yield start, joined.strip()
        joined, start = "", 0
    if joined.strip():
        yield start, joined.strip()
