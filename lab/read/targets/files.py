"""What must lie beside a target's YAML: a Dockerfile, and requirements pinned by hash, without addresses."""

import re
from collections.abc import Iterator
from pathlib import Path

from lab.read.strict_yaml import Problem, shown

BYTES_MAX = 4 * 1024 * 1024
_REQUIREMENT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])?\s*(===?|[<>~!]=?|@)")


def file_problems(folder: Path) -> Iterator[Problem]:
    """Everything that is wrong with the files of a target folder."""
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
            said = f"{shown(first)} is not pinned by hash"
            yield Problem(said, where, "pip-compile --generate-hashes")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, joined where a backslash says so, each with the number of its first one."""
    held, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        start = start or number
        held += re.sub(r"(^|\s)#.*$", "", line).removesuffix("\\") + " "
        if line.endswith("\\"):
            continue
        if held.strip():
            yield start, held.strip()
        held, start = "", 0
    if held.strip():
        yield start, held.strip()
