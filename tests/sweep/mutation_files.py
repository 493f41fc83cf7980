"""The files of a mutation run: what the judge's modules become before it, and what the tool noted about each mutant."""

import ast
import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.sweep.mutants import KILLED, SURVIVED, TIMEOUT, UNTESTED, UNTYPED, Change, Mutant

BODY = "__body"
OPENED = {"property", "cache"}
# The exit codes that the tool notes. A test run that crashed killed its mutant; one that no test reaches survived.
STATUS = {1: KILLED, 3: KILLED, -11: KILLED, -9: KILLED, 0: SURVIVED, 5: SURVIVED, 33: SURVIVED, 37: UNTYPED}
STATUS |= dict.fromkeys((36, -24, 24, 152, 255), TIMEOUT)


def open_for_mutation(source: str) -> str:
    """The tool leaves out decorated functions. Those of a simple decorator get a body that is a function of its own."""
    lines = source.splitlines()
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    for node in sorted(functions, key=lambda node: -node.lineno):
        simple = [isinstance(d, ast.Name) and d.id in OPENED for d in node.decorator_list] == [True]
        if simple and node.body[0].lineno > node.lineno:
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
