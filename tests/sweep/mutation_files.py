"""The files of a mutation run: what the judge's modules become before it, and what the tool noted about each mutant."""

import ast
import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.sweep.mutants import KILLED, SURVIVED, TIMEOUT, UNTESTED, UNTYPED, Change, Mutant

BODY = "__body"
# Where the tests of the judge have their code from, beside `lab`.
READ = {("tests", "pure"), ("tests", "contract"), ("tests", "conftest.py")}
OPENED = {"property", "cache"}
# The exit codes that the tool notes. A test run that crashed killed its mutant; one that no test reaches survived.
STATUS = {1: KILLED, 3: KILLED, -11: KILLED, -9: KILLED, 0: SURVIVED, 5: SURVIVED, 33: SURVIVED, 37: UNTYPED}
STATUS |= dict.fromkeys((36, -24, 24, 152, 255), TIMEOUT)


def open_for_mutation(source: str) -> str:
    """The tool leaves out decorated functions. So properties get a body that is a function of its own, and what is
    cached is computed anew each time: a cache would answer for a mutant with what the original computed before it.
    """
    lines = source.splitlines()
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    for node in sorted(functions, key=lambda node: -node.lineno):
        simple = [isinstance(d, ast.Name) and d.id in OPENED for d in node.decorator_list] == [True]
        if simple and lines[node.lineno - 2].strip() == "@cache":
            del lines[node.lineno - 2]
        elif simple and node.body[0].lineno > node.lineno:
            lines[node.lineno - 2 : node.end_lineno] = _opened(node, lines)
    return "\n".join(lines) + "\n"


def _opened(node: ast.FunctionDef, lines: list[str]) -> list[str]:
    indent = " " * node.col_offset
    header = lines[node.lineno - 1 : node.body[0].lineno - 1]
    body = lines[node.body[0].lineno - 1 : node.end_lineno]
    renamed = [header[0].replace(f"def {node.name}(", f"def {node.name}{BODY}(", 1), *header[1:]]
    names = [argument.arg for argument in node.args.args]
    owner = f"{names.pop(0)}." if names[:1] == ["self"] else ""
    call = f"{indent}    return {owner}{node.name}{BODY}({', '.join(names)})"
    gap = [""] if node.col_offset else ["", ""]
    return [*renamed, *body, *gap, lines[node.lineno - 2], *header, call]


def mutants_of(scratch: Path, module: Path) -> Iterator[Mutant]:
    """Every mutant of one module, with its change and what became of it."""
    mutated = scratch / "mutants" / module
    meta = mutated.with_name(f"{mutated.name}.meta")
    if not meta.exists():
        return
    lines = mutated.read_text().splitlines()
    spans: dict[str, list[int]] = json.loads(mutated.with_name(f"{mutated.name}.spans").read_text())["spans"]
    for name, code in json.loads(meta.read_text())["exit_code_by_key"].items():
        own = name.rpartition(".")[2]
        original = own.partition("__mutmut_")[0] + "__mutmut_orig"
        was, becomes = (_plain(lines[spans[n][0] - 1 : spans[n][1]], n) for n in (original, own))
        yield Mutant(name, _change(str(module), original, was, becomes), STATUS.get(code, UNTESTED))


def forget(scratch: Path, modules: Sequence[Path]) -> None:
    """Survivors are tested again, because a test may have been written; so are those that were interrupted."""
    for module in modules:
        meta = scratch / "mutants" / module.with_name(f"{module.name}.meta")
        if meta.exists():
            noted = json.loads(meta.read_text())
            codes = noted["exit_code_by_key"]
            noted["exit_code_by_key"] = {
                n: c if STATUS.get(c) in (KILLED, UNTYPED) else None for n, c in codes.items()
            }
            meta.write_text(json.dumps(noted))


def forget_tests(scratch: Path, changed: Sequence[Path]) -> None:
    """What the tool noted about tests that changed. With other code it forgets all, so that all run once again."""
    noted = scratch / "mutants" / "mutmut-stats.json"
    relevant = [path for path in changed if path.parts[0] == "lab" or path.parts[:2] in READ]
    if not relevant or not noted.exists():
        return
    if not all(path.match("tests/pure/test_*.py") for path in relevant):
        noted.unlink()
        return
    stats = json.loads(noted.read_text())
    gone = {name for name in stats["duration_by_test"] if Path(name.partition("::")[0]) in changed}
    stats["duration_by_test"] = {n: s for n, s in stats["duration_by_test"].items() if n not in gone}
    reached = stats["tests_by_mangled_function_name"]
    stats["tests_by_mangled_function_name"] = {
        f: [n for n in names if n not in gone] for f, names in reached.items()
    }
    noted.write_text(json.dumps(stats))


def _plain(lines: Sequence[str], name: str) -> list[str]:
    return [line.strip().replace(name, "").rstrip() for line in lines]


def _change(module: str, original: str, was: list[str], becomes: list[str]) -> Change:
    function = (
        original.removesuffix("__mutmut_orig")
        .removeprefix("x")
        .strip("ǁ_")
        .replace("ǁ", ".")
        .removesuffix(BODY)
    )
    changed = [
        line
        for line in difflib.unified_diff(was, becomes, lineterm="", n=0)
        if line[:3] not in ("---", "+++")
    ]
    removed, added = ("\n".join(line[1:] for line in changed if line[0] == sign) for sign in "-+")
    return Change(module, function, removed, added)
