"""Runs mutmut in the current folder, a scratch copy, with the operators of this project. Used by `mutation.py` alone.

Arguments: how many processes, then the patterns of the mutants' names. Mutants with a result are not tested again.
"""

import fnmatch
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import libcst as cst
from mutmut import __main__ as program
from mutmut.configuration import config
from mutmut.mutation import mutators
from mutmut.workers import isolation

from tests.sweep.mutation_limits import safe_time_limits
from tests.sweep.mutation_speed import cheap_choice, quick_runs

# The verdict that would hide or invent a failure; the tool has no operator for members of enumerations.
OTHER_VERDICTS = {
    "INCONCLUSIVE": ("PASS", "FAIL"),
    "FAIL": ("PASS", "INCONCLUSIVE"),
    "PASS": ("INCONCLUSIVE", "FAIL"),
    "NOT_TESTED": ("PASS",),
}

tool: Any = program


def other_verdict(node: cst.Attribute) -> Iterable[cst.Attribute]:
    """`Verdict.FAIL` becomes `Verdict.PASS`, and so on."""
    if isinstance(node.value, cst.Name) and node.value.value == "Verdict":
        for name in OTHER_VERDICTS.get(node.attr.value, ()):
            yield node.with_changes(attr=cst.Name(name))


def other_text(node: cst.BaseString) -> Iterable[cst.BaseString]:
    """One other text for each text; the tool's changes of upper and lower case would add two that say no more."""
    yield from list(mutators.operator_string(node))[:1]


def set_operators() -> None:
    operators: Any = mutators.mutation_operators
    operators[:] = [(kind, other_text if do is mutators.operator_string else do) for kind, do in operators]
    operators.append((cst.Attribute, other_verdict))


def select(patterns: list[str]) -> None:
    """Lets the tool test only the mutants whose names match. It has such an argument, which tests killed ones again."""
    collect = tool.collect_source_file_mutation_data

    def selected(*, mutant_names: Any) -> Any:
        mutants, by_path = collect(mutant_names=mutant_names)
        return [m for m in mutants if any(fnmatch.fnmatchcase(m[1], p) for p in patterns)], by_path

    tool.collect_source_file_mutation_data = selected


def caught_by_types() -> dict[str, Any]:
    """Mutants with an error of types. The tool's own way parses every mutated file again, which takes minutes."""
    mutants = Path("mutants")
    files = sorted(mutants.rglob("*.py.spans"))
    content = (
        b"".join(f.with_suffix("").read_bytes() for f in files) + repr(config().type_check_command).encode()
    )
    kept = mutants / f"types-{hashlib.sha256(content).hexdigest()[:16]}.json"
    if not kept.exists():
        checked = subprocess.run(config().type_check_command, cwd=mutants, capture_output=True, text=True)
        if checked.returncode not in (0, 1):
            raise SystemExit(f"mypy cannot check the mutants:\n{checked.stdout}{checked.stderr}")
        errors = [json.loads(line) for line in checked.stdout.splitlines() if line.strip()]
        kept.write_text(
            json.dumps([(e["file"], e["line"], e["message"]) for e in errors if e["severity"] == "error"])
        )
    found: dict[str, Any] = {}
    for file, line, message in json.loads(kept.read_text()):
        spans = json.loads((mutants / f"{file}.spans").read_text())["spans"]
        module = file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        names = [name for name, (first, last) in spans.items() if first <= line <= last]
        if not names or names[0].endswith("_orig"):
            raise SystemExit(f"an error of types outside of every mutant: {file}:{line}: {message}")
        found[f"{module}.{names[0]}"] = SimpleNamespace(error=SimpleNamespace(error_description=message))
    return found


if __name__ == "__main__":
    set_operators()
    cheap_choice()
    quick_runs()
    safe_time_limits(vars(isolation))
    select(sys.argv[2:])
    tool.filter_mutants_with_type_checker = caught_by_types
    # The tests import the copy of this package that belongs to the mutants.
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    tool._run((), int(sys.argv[1]))
