"""The sweep of mutants fails for what it should fail for, and names each mutant by its text."""

import ast
import json
from pathlib import Path

import pytest
import yaml

from tests.sweep.mutants import (
    KILLED,
    SURVIVED,
    TIMEOUT,
    UNTESTED,
    UNTYPED,
    Change,
    Mutant,
    killed_share,
    listed,
    problems,
)
from tests.sweep.mutation_files import forget, forget_tests, mutants_of, open_for_mutation

MODULE = "lab/judge/checks/errors.py"
SAME = {"module": MODULE, "function": "judge", "was": "x < 0", "becomes": "x <= 0", "reason": "x is never 0."}


def mutant(status: str, number: int = 0) -> Mutant:
    return Mutant(f"m{number}", Change(MODULE, "judge", "x < 0", f"x < {number}"), status)


def many(killed: int, survived: int) -> list[Mutant]:
    statuses = [KILLED] * killed + [SURVIVED] * survived
    return [mutant(status, number) for number, status in enumerate(statuses)]


def test_a_result_without_survivors_is_good() -> None:
    assert problems(many(19, 0), {}) == []


def test_a_survivor_that_is_listed_is_good_and_counts_as_a_survivor() -> None:
    result = many(19, 1)
    assert problems(result, {result[-1].change: "same"}) == []
    assert killed_share(result) == 0.95


def test_a_survivor_that_is_not_listed_is_a_problem() -> None:
    (problem,) = problems(many(99, 1), {})
    assert problem.startswith("survived and is not listed")


def test_too_many_survivors_are_a_problem_although_they_are_listed() -> None:
    result = many(18, 1)
    (problem,) = problems(result, {result[-1].change: "same"})
    assert "less than 95%" in problem


@pytest.mark.parametrize("result", [[], [mutant(UNTYPED)]])
def test_a_run_that_tested_nothing_is_a_problem(result: list[Mutant]) -> None:
    assert problems(result, {}) == ["no mutant was tested"]


def test_a_mutant_without_a_result_is_a_problem() -> None:
    (problem,) = problems([*many(30, 0), mutant(UNTESTED, 99)], {})
    assert problem.startswith("not tested")


@pytest.mark.parametrize("status", [KILLED, TIMEOUT, UNTYPED])
def test_a_listed_mutant_that_no_longer_survives_is_a_problem(status: str) -> None:
    stale = mutant(status, 99)
    (problem,) = problems([*many(30, 0), stale], {stale.change: "same"})
    assert problem.startswith("listed as equivalent and was killed")


def test_a_listed_mutant_that_does_not_exist_is_a_problem() -> None:
    (problem,) = problems(many(30, 0), {mutant(SURVIVED, 99).change: "same"})
    assert problem.startswith("listed as equivalent and does not exist")


def test_every_listed_mutant_needs_a_reason_and_stands_there_once(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(yaml.safe_dump([SAME]))
    assert listed(path) == {Change(MODULE, "judge", "x < 0", "x <= 0"): "x is never 0."}
    for wrong in ([SAME | {"reason": " "}], [SAME, SAME]):
        path.write_text(yaml.safe_dump(wrong))
        with pytest.raises(ValueError, match=r"reason|twice"):
            listed(path)


def test_the_list_of_the_project_can_be_read() -> None:
    assert all(Path(change.module).is_relative_to("lab/judge") for change in listed())


def written(scratch: Path, shift: int) -> Path:
    """What the tool leaves of a module with one function and two mutants, `shift` lines further down."""
    path = scratch / "mutants" / MODULE
    path.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = [""] * shift
    spans = {}
    for name, body in (("orig", "x < 0"), ("1", "x <= 0"), ("2", "x < 1")):
        own = f"x_judge__mutmut_{name}"
        spans[own] = [len(lines) + 1, len(lines) + 2]
        lines += [f"def {own}(x):", f"    return {body}"]
    path.write_text("\n".join(lines))
    path.with_name("errors.py.spans").write_text(json.dumps({"spans": spans}))
    codes = {f"lab.judge.checks.errors.x_judge__mutmut_{n}": code for n, code in (("1", 0), ("2", 1))}
    path.with_name("errors.py.meta").write_text(json.dumps({"exit_code_by_key": codes}))
    return path


@pytest.mark.parametrize("shift", [0, 7])
def test_a_mutant_is_named_by_its_text_wherever_it_stands(tmp_path: Path, shift: int) -> None:
    written(tmp_path, shift)
    survivor, killed = mutants_of(tmp_path, Path(MODULE))
    assert survivor.change == Change(MODULE, "judge", "return x < 0", "return x <= 0")
    assert (survivor.status, killed.status) == (SURVIVED, KILLED)


def test_survivors_are_tested_again_and_killed_ones_are_not(tmp_path: Path) -> None:
    written(tmp_path, 0)
    forget(tmp_path, [Path(MODULE)])
    assert [m.status for m in mutants_of(tmp_path, Path(MODULE))] == [UNTESTED, KILLED]


def test_decorated_functions_are_opened_and_do_the_same() -> None:
    source = (
        "from functools import cache\n\nclass A:\n    n = 2\n\n    @property\n    def double(self) -> int:\n"
        '        """Twice."""\n        return 2 * self.n\n\n\n@cache\ndef half(n: int) -> float:\n    return n / 2\n'
    )
    opened = open_for_mutation(source)
    names = {node.name for node in ast.walk(ast.parse(opened)) if isinstance(node, ast.FunctionDef)}
    assert names == {"double", "double__body", "half"}
    room: dict = {}
    exec(opened, room)
    assert room["A"]().double == 4 and room["half"](3) == 1.5
    assert not hasattr(room["half"], "cache_clear"), "what the original computed would answer for its mutants"


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        ("tests/pure/test_a.py", {"tests/pure/test_b.py::test"}),
        ("tests/sweep/mutation.py", {"tests/pure/test_a.py::test", "tests/pure/test_b.py::test"}),
        ("tests/pure/evidence_factory.py", None),
        ("lab/model/plan.py", None),
    ],
)
def test_what_was_noted_about_changed_tests_is_forgotten(
    tmp_path: Path, changed: str, left: set[str] | None
) -> None:
    noted = tmp_path / "mutants" / "mutmut-stats.json"
    noted.parent.mkdir()
    tests = [f"tests/pure/test_{name}.py::test" for name in "ab"]
    content = {"duration_by_test": dict.fromkeys(tests, 1.0), "tests_by_mangled_function_name": {"f": tests}}
    noted.write_text(json.dumps(content))
    forget_tests(tmp_path, [Path(changed)])
    assert noted.exists() == (left is not None)
    if left is not None:
        after = json.loads(noted.read_text())
        assert set(after["duration_by_test"]) == set(after["tests_by_mangled_function_name"]["f"]) == left
