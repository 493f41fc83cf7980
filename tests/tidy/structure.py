"""The structure of `lab/` in figures: `python -m tests.tidy.structure` prints rooms, arrows and functions.

A room is a top-level folder of `lab/`; an arrow is an import from one room into another. Rooms are printed from the top
layer down, so an arrow that points up stands out: it is marked, and the exit code is 1.
"""

import ast
import statistics
import sys
from collections import Counter
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
LAYERS = (
    ("model", "errors", "repository", "boundary", "__init__"),
    ("ports",),
    ("judge", "report"),
    ("faults", "probes", "profilers"),
    ("evidence", "host"),
    ("read",),
    ("observe", "provision"),
    ("truth",),
    ("load", "plan"),
    ("guard",),
    ("run",),
    ("cli",),
    ("__main__",),
)


def room_of(path: Path) -> str:
    """The room of a module of `lab/`, as it stands in `LAYERS`."""
    return path.relative_to(HOME / "lab").parts[0].removesuffix(".py")


def layer_of(room: str) -> int:
    """The number of a room's layer from the ground up; raises AssertionError for a room that has none."""
    found = [number for number, row in enumerate(LAYERS) if room in row]
    assert found, f"lab/{room} stands in no layer: give it a row of LAYERS in tests/tidy/structure.py"
    return found[0]


def imported_rooms(tree: ast.AST) -> Counter[str]:
    """How often a module imports something of each room."""
    names = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    ]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return Counter(name.split(".")[1] for name in names if name.startswith("lab."))


def function_lengths(tree: ast.AST) -> list[int]:
    """Lines of each function, its signature and docstring included."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    ]


def main() -> int:
    """Print the figures; 1 where an arrow points up."""
    lines: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    arrows: Counter[tuple[str, str]] = Counter()
    functions: list[int] = []
    for path in sorted((HOME / "lab").rglob("*.py")):
        text, room = path.read_text(encoding="utf-8"), room_of(path)
        tree = ast.parse(text)
        lines[room] += len(text.splitlines())
        modules[room] += 1
        functions += function_lengths(tree)
        for other, count in imported_rooms(tree).items():
            if other != room and not other.startswith("_"):
                arrows[room, other] += count
    upward = _print_rooms(lines, modules, arrows)
    print(
        f"functions: {len(functions)}, median {statistics.median(functions):g} lines, longest {max(functions)}"
    )
    print(f"arrows: {len(arrows)}, of which {upward} point up")
    return 1 if upward else 0


def _print_rooms(lines: Counter[str], modules: Counter[str], arrows: Counter[tuple[str, str]]) -> int:
    total, upward = sum(lines.values()), 0
    for room in sorted(lines, key=lambda name: (-layer_of(name), name)):
        shown = []
        for (source, other), count in sorted(arrows.items(), key=lambda item: -layer_of(item[0][1])):
            if source == room:
                points_up = layer_of(other) > layer_of(room)
                upward += points_up
                shown.append(f"{other} {count}{' UPWARD' if points_up else ''}")
        share = lines[room] / total
        size = f"{modules[room]:4} modules {lines[room]:6} lines {share:5.1%}"
        print(f"{layer_of(room):2} {room:11}{size}  -> {', '.join(shown)}")
    return upward


if __name__ == "__main__":
    sys.exit(main())
