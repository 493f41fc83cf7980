"""Nearly every mutant of the judge is killed by its tests, and each that survives is listed with the reason."""

import os

import pytest

from tests.sweep.mutation import CHECKOUT, modules_of, mutate, report

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(12 * 3600)]


def test_the_tests_of_the_judge_kill_its_mutants() -> None:
    modules = modules_of(CHECKOUT, [])
    assert not report(mutate(modules, os.cpu_count() or 1, fresh=True), modules)
