"""The tolerance bound of recoveries against tabulated factors, and what few or broken trials may never do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.judge.recovery_bound import tolerance_bound_s


@pytest.mark.parametrize(("n", "k"), [(3, 6.155), (5, 3.407), (10, 2.355), (20, 1.926)])
def test_the_factor_is_the_tabulated_one(n: int, k: float) -> None:
    """Natrella's table A-7 for 90 % coverage at 95 % confidence."""
    times = np.exp(np.linspace(-1, 1, n))
    logs = np.log(times)
    assert math.log(tolerance_bound_s(list(times))) == pytest.approx(
        logs.mean() + k * logs.std(ddof=1), rel=1e-3
    )


def test_one_trial_that_never_ended_leaves_no_bound() -> None:
    assert tolerance_bound_s([1.0, 1.0, math.inf]) == math.inf


def test_recoveries_too_short_to_be_told_from_none_count_as_the_floor() -> None:
    assert tolerance_bound_s([0.0, 0.0, 0.0]) == pytest.approx(0.1)


@given(st.lists(st.floats(0.2, 100), min_size=3, max_size=20), st.floats(1.01, 50))
def test_a_bound_is_never_below_what_was_seen_at_the_middle_and_grows_with_all(
    times: list[float], factor: float
) -> None:
    bound = tolerance_bound_s(times)
    assert bound >= np.exp(np.log(times).mean()) * (1 - 1e-9)
    assert tolerance_bound_s([time * factor for time in times]) == pytest.approx(bound * factor, rel=1e-6)
