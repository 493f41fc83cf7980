"""What makes a mutation run fast enough: a cheaper choice of the mutant in each call, and the likely killer first."""

import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from mutmut.mutation import trampoline
from mutmut.runners.harness import PytestRunner
from mutmut.state import state
from mutmut.utils.file_utils import change_cwd

KILLS = Path("kills.jsonl")
# The tool does what these two ask for itself, in its own wrapper.
OWN = (None, "fail")


def cheap_choice() -> None:
    """Each function of the judge looks its mutant up once for each run of tests, and not in each call."""
    tool: Any = trampoline
    original = tool.wrap_in_trampoline

    def wrapper(mutants: dict[str, Any], is_classmethod: bool = False) -> Callable[..., Any]:
        def decorate(function: Any) -> Any:
            slow = original(mutants, is_classmethod)(function)
            if is_classmethod or inspect.isgeneratorfunction(function):
                return slow
            return _chooses_once(function, slow, mutants)

        return decorate

    tool.wrap_in_trampoline = wrapper


def _chooses_once(function: Any, slow: Any, mutants: dict[str, Any]) -> Any:
    chosen: Any = slow
    chosen_for: str | None = None

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal chosen, chosen_for
        name = trampoline._mutant_under_test
        if name is not chosen_for:
            chosen, chosen_for = slow, name
            if name == "stats":
                chosen = _noted(function, mutants)
            elif name not in OWN:
                module, _, own = str(name).rpartition(".")
                mutant = mutants.get(own) if module == function.__module__ else None
                chosen = mutant or mutants["_mutmut_orig"]
        return chosen(*args, **kwargs)

    return call


def _noted(function: Any, mutants: dict[str, Any]) -> Any:
    """Notes that the test which runs reaches this function. The tool's own way follows the callers, which is slow."""
    original = mutants["_mutmut_orig"]
    place = f"{function.__module__}.{original.__name__.partition('__mutmut_')[0]}"

    def call(*args: Any, **kwargs: Any) -> Any:
        state()._stats.add(place)
        return original(*args, **kwargs)

    return call


class KillRecord:
    """Notes which test killed which mutant, so that the next mutant of this function meets that test first."""

    def __init__(self, mutant: str) -> None:
        self.mutant = mutant

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            with KILLS.open("a") as record:
                record.write(json.dumps([self.mutant.partition("__mutmut_")[0], report.nodeid]) + "\n")


def likely_first(mutant: str, tests: Iterable[str]) -> list[str]:
    """Those that killed mutants of the same function, of the same module, of any; then the short ones."""
    function = mutant.partition("__mutmut_")[0]
    module = function.rpartition(".")[0]
    kills = [json.loads(line) for line in KILLS.read_text().splitlines()] if KILLS.exists() else []
    near = Counter(test for place, test in kills if place == function)
    beside = Counter(test for place, test in kills if place.rpartition(".")[0] == module)
    anywhere = Counter(test for _, test in kills)
    duration_s = state().duration_by_test
    return sorted(
        tests, key=lambda t: (-near[t], -beside[t], -anywhere[t] / (1 + duration_s[t]), duration_s[t])
    )


def quick_runs() -> None:
    """Orders the tests of each mutant, and leaves out the run of all tests without a mutant.

    The tool has noted before which test reaches which function, which is such a run, and ends where a test fails.
    """
    runner: Any = PytestRunner
    run_tests = runner.run_tests

    def run(self: Any, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        if mutant_name is None:
            return (
                0
                if trampoline._mutant_under_test == ""
                else int(run_tests(self, mutant_name=None, tests=tests))
            )
        with change_cwd("mutants"):
            arguments = self._pytest_args_regular_run(likely_first(mutant_name, tests))
            return int(self.execute_pytest(arguments, plugins=[KillRecord(mutant_name)]))

    runner.run_tests = run
