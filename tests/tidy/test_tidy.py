"""Rules over the repository itself: a limit that nobody executes is not a limit."""

import ast
import hashlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy.structure import layer_of
from tests.tidy.structure import room_of as part_of

HOME = Path(__file__).resolve().parents[2]
MODULES = sorted((HOME / "lab").rglob("*.py"))

# These packages stand beside each other in one layer and must not know each other.
STRANGERS = {
    "judge": {"report"},
    "faults": {"probes", "profilers"},
    "probes": {"faults", "profilers"},
    "evidence": {"host"},
    "host": {"evidence"},
    "observe": {"provision"},
    "provision": {"observe"},
    "load": {"plan"},
    "plan": {"load"},
}

MODULES_MAX = 15
ROOM_SHARE_MAX = 0.2
MODULE_LINES_MAX = 300
FUNCTION_LINES_MAX = 40
SMALL_LINES_MAX = {"faults": 100, "probes": 100, "checks": 100}
# Modules and functions over a limit, with the reason; an entry that is no longer needed fails the test.
EXCEPTIONS: dict[str, str] = {}

BANNED = {
    "time.time": "the Clock port, or time.monotonic inside an adapter",
    "time.sleep": "the Clock port",
    "print": "sys.stdout in lab/cli and lab/cli/console.py only",
}
# Where effects live: what reaches the world may know its clock.
OUTSIDE = ("host", "observe", "evidence", "truth", "load", "guard", "provision")
AT_HOME = {
    "time.time": OUTSIDE,
    "time.sleep": OUTSIDE,
    "print": ("cli/", "provision/__main__.py"),
}
# The names of the package registries, as the beginnings of their SHA-256, so that this file names none either.
REGISTRIES = frozenset(
    {"cd88a6fb14237c16", "2960ad205cb64ff3", "7282bed9a11a4f95", "7b8208d11b1b6f48", "81d93757457f9885"}
)
BANNED_NAMES = {"manager", "helper", "helpers", "utils", "util", "base", "common", "misc"}


def relative(path: Path) -> str:
    return path.relative_to(HOME).as_posix()


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def is_fault(tree: ast.Module) -> bool:
    """Whether a module is one fault, as `lab.faults.discover` sees it."""
    return any(
        isinstance(node, ast.Assign)
        and ast.unparse(node.value) != "None"
        and any(isinstance(target, ast.Name) and target.id == "FAULT" for target in node.targets)
        for node in tree.body
    )


def is_check(tree: ast.Module) -> bool:
    """Whether a module is one check, as `lab.judge.discover` sees it."""
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    return any(isinstance(target, ast.Name) and target.id == "CHECK" for target in targets)


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def test_a_layer_imports_only_lower_ones(trees: dict[Path, ast.Module]) -> None:
    wrong = []
    for path, tree in trees.items():
        mine = part_of(path)
        for name in imports(tree):
            if not name.startswith("lab.") or (part := name.split(".")[1]) == mine or part.startswith("__"):
                continue
            if layer_of(part) > layer_of(mine) or part in STRANGERS.get(mine, ()):
                wrong.append(
                    f"{relative(path)} imports {name}; move one of them, or pass a value through a port"
                )
            elif layer_of(part) == layer_of(mine) and layer_of(mine) == layer_of("faults"):
                wrong.append(f"{relative(path)} imports {name} of its own layer")
    assert not wrong, "\n".join(wrong)


def test_sizes(trees: dict[Path, ast.Module]) -> None:
    over: dict[str, str] = {}
    for path, tree in trees.items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        part = part_of(path)
        small = "checks" if is_check(tree) else part if part != "faults" or is_fault(tree) else ""
        limit = SMALL_LINES_MAX.get(small, MODULE_LINES_MAX)
        if lines > limit:
            over[relative(path)] = f"{lines} lines, {limit} allowed: split it by responsibility"
        for node in functions(tree):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                over[f"{relative(path)}:{node.name}"] = f"{length} lines, {FUNCTION_LINES_MAX} allowed"
    assert not {name: why for name, why in over.items() if name not in EXCEPTIONS}
    assert not sorted(set(EXCEPTIONS) - set(over)), "these exceptions are no longer needed: remove them"


def test_rooms_are_small() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    folders = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    crowded = {relative(folder): n for folder, n in folders.items() if n > MODULES_MAX}
    assert not crowded, f"more than {MODULES_MAX} modules side by side: {crowded}"
    rooms: Counter[str] = Counter()
    for path, count in lines.items():
        rooms[part_of(path)] += count
    large = {room: n for room, n in rooms.items() if n >= ROOM_SHARE_MAX * sum(lines.values())}
    assert not large, f"a room with a fifth of all lines is no room: {large}"


def full_names(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for, so that no alias hides a banned call."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
    return names


def calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of every call."""
    names = full_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            yield node.lineno, names.get(first, first) + dot + rest


def test_banned_calls(trees: dict[Path, ast.Module]) -> None:
    wrong = []
    for path, tree in trees.items():
        place = path.relative_to(HOME / "lab").as_posix()
        for line, call in calls(tree):
            if call in BANNED and not place.startswith(AT_HOME[call]):
                wrong.append(f"{relative(path)}:{line}: {call}; use {BANNED[call]}")
            if re.fullmatch(r"random\.(?!Random\b)\w+", call):
                wrong.append(f"{relative(path)}:{line}: {call}; use random.Random(seed)")
    assert not wrong, "\n".join(wrong)


def test_no_alias_hides_a_banned_call() -> None:
    imports = "import time as t\nfrom time import sleep as nap\nfrom random import shuffle\n"
    assert [call for _, call in calls(ast.parse(imports + "t.time()\nnap(1)\nshuffle([])"))] == [
        "time.time",
        "time.sleep",
        "random.shuffle",
    ]


def catches_everything(node: ast.AST) -> bool:
    if not isinstance(node, ast.ExceptHandler):
        return False
    caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(one is None or ast.unparse(one) in ("Exception", "BaseException") for one in caught)


def test_only_the_boundary_may_catch_everything(trees: dict[Path, ast.Module]) -> None:
    wrong = [
        f"{relative(path)}:{node.lineno}"  # type: ignore[attr-defined]
        for path, tree in trees.items()
        if relative(path) != "lab/boundary.py"
        for node in ast.walk(tree)
        if catches_everything(node)
    ]
    assert not wrong, f"name the exceptions that you expect, or use lab.boundary.attempt: {wrong}"


def test_names_say_something() -> None:
    wrong = [relative(path) for path in MODULES if BANNED_NAMES & set(path.stem.split("_"))]
    assert [name for name in wrong if name != "lab/provision/images/base_image.py"] == []


def test_public_things_have_docstrings(trees: dict[Path, ast.Module]) -> None:
    wrong = []
    for path, tree in trees.items():
        if not ast.get_docstring(tree):
            wrong.append(relative(path))
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if not node.name.startswith("_") and not ast.get_docstring(node):
                wrong.append(f"{relative(path)}:{node.name}")
    assert not wrong, f"public, and without a docstring: {wrong}"


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=True,
    )
    return [HOME / line for line in listed.stdout.splitlines() if (HOME / line).is_file()]


def registry_hosts(text: str, digests: frozenset[str] = REGISTRIES) -> list[str]:
    """The addresses in a text whose last name before the top-level domain has one of these digests."""
    found = re.finditer(r"\b([a-z0-9]+)\.(?:org|com|io)\b", text)
    return [match[0] for match in found if digest_of(match[1]) in digests]


def digest_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def test_no_package_registry_is_named() -> None:
    found = [
        f"{relative(path)}: {host}"
        for path in tracked()
        if path.suffix not in (".png", ".gz")
        for host in registry_hosts(path.read_text("utf-8", "replace"))
    ]
    assert not found


@pytest.mark.parametrize("text", ["example.org", "see files.example.io/simple", "my-example.com"])
def test_a_registry_is_found_by_its_digest(text: str) -> None:
    assert registry_hosts(text, frozenset({digest_of("example")}))
    assert not registry_hosts(text.replace("example", "another"), frozenset({digest_of("example")}))


def test_links_in_documents_resolve() -> None:
    broken = []
    for path in tracked():
        if path.suffix != ".md":
            continue
        links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8"))
        broken += [f"{relative(path)} -> {link}" for link in links if not (path.parent / link).exists()]
    assert not broken


def test_change_fragments_are_named_after_their_issue() -> None:
    wrong = [
        path.name
        for path in (HOME / "changes").iterdir()
        if not re.fullmatch(r"\d+\.(added|changed|fixed|removed)(\.\d+)?\.md", path.name)
    ]
    assert not wrong


def test_every_target_of_the_makefile_explains_itself() -> None:
    text = (HOME / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    inner = {"setup-runtime", "prepare"}
    silent = [
        name
        for name in phony[1].split()
        if name not in inner and not re.search(rf"^{name}:.*## ", text, re.M)
    ]
    assert not silent


@pytest.mark.parametrize("asked", [["check"], ["format", "--check"]])
def test_ruff_is_content(asked: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *asked, "--no-cache", "."],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
