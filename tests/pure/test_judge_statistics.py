"""The intervals: exact where they can be, corrected where requests follow each other, and never sure of too
little.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lab.judge.stats.intervals import (
    exact_interval,
    mean_interval,
    percentile,
    percentile_interval,
    seed_of,
    share_interval,
)

VALUES = st.lists(st.one_of(st.floats(1, 1e4), st.just(math.inf)), min_size=1, max_size=120)


def test_the_exact_interval_is_that_of_scipy() -> None:
    for successes, n in ((0, 72), (3, 100), (50, 50), (1, 1)):
        expected = stats.binomtest(successes, n).proportion_ci(0.95, "exact")
        found = exact_interval(successes, n)
        assert (found.lo, found.hi) == pytest.approx((expected.low, expected.high))


def test_without_violations_72_requests_prove_five_percent_and_368_one_percent() -> None:
    assert share_interval(np.zeros(72, bool), np.zeros(72, bool)).hi < 0.05
    assert share_interval(np.zeros(71, bool), np.zeros(71, bool)).hi > 0.05
    assert share_interval(np.zeros(368, bool), np.zeros(368, bool)).hi < 0.01
    assert share_interval(np.zeros(367, bool), np.zeros(367, bool)).hi > 0.01


def test_a_burst_is_believed_less_than_the_same_failures_spread_out() -> None:
    burst, spread = np.zeros(1000, bool), np.zeros(1000, bool)
    burst[500:520] = True
    spread[::50] = True
    wide, narrow = share_interval(burst, burst), share_interval(spread, spread)
    assert wide.hi > 1.5 * narrow.hi
    assert wide.lo < narrow.lo


def test_the_unknown_counts_against_both_ends() -> None:
    bad, unknown = np.zeros(500, bool), np.zeros(500, bool)
    unknown[::10] = True
    found = share_interval(bad, unknown, missing=10)
    assert found.lo == 0.0
    assert found.hi > share_interval(unknown, unknown).hi > 0.1


@given(VALUES, st.floats(1, 1e4))
@settings(max_examples=60, deadline=None)
def test_the_percentile_interval_decides_as_the_share_of_violations_does(
    values: list[float], limit: float
) -> None:
    latencies = np.array(values)
    found = percentile_interval(latencies, latencies, 0.95)
    slow = latencies >= limit
    share = share_interval(slow, slow)
    assert found.lo <= percentile(latencies, 0.95) <= found.hi
    if found.hi < limit:
        assert share.hi < 0.05
    if found.lo >= limit:
        assert share.lo > 0.05


def test_requests_that_never_end_have_no_finite_percentile() -> None:
    dead = np.full(200, math.inf)
    found = percentile_interval(dead, dead, 0.95)
    assert (found.lo, found.hi) == (math.inf, math.inf)
    assert percentile(dead, 0.95) == math.inf


def test_with_independent_samples_the_interval_of_p95_covers_the_truth() -> None:
    rng = np.random.default_rng(5)
    truth = math.exp(0.6 * stats.norm.ppf(0.95))
    covered = 0
    for _ in range(200):
        values = rng.lognormal(0, 0.6, 600)
        found = percentile_interval(values, values, 0.95)
        covered += found.lo <= truth <= found.hi
    assert covered >= 188


def test_eight_percent_of_violations_hardly_ever_pass_for_less_than_five() -> None:
    rng = np.random.default_rng(6)
    passes = 0
    for _ in range(600):
        bad = rng.random(500) < 0.08
        passes += share_interval(bad, bad).hi < 0.05
    assert passes <= 6


def test_stalls_of_ten_requests_do_not_fool_the_interval_either() -> None:
    rng = np.random.default_rng(7)
    passes = 0
    for _ in range(400):
        bad = np.repeat(rng.random(100) < 0.08, 10)
        passes += share_interval(bad, bad).hi < 0.05
    assert passes <= 12


def test_a_mean_without_variance_is_no_more_certain_than_its_number_allows() -> None:
    assert mean_interval(np.ones(36), 1).lo > 0.9
    assert mean_interval(np.ones(35), 1).lo < 0.9
    assert mean_interval(np.zeros(40), 1).hi < 0.1
    same = mean_interval(np.full(50, 0.95), 1)
    assert same.lo < 0.9 < 0.95 < same.hi


def test_the_mean_of_wrong_answers_hardly_ever_passes() -> None:
    rng = np.random.default_rng(8)
    passes = 0
    for trial in range(150):
        values = np.where(rng.random(50) < 0.15, 0.0, 1.0)
        passes += mean_interval(values, trial).lo > 0.9
    assert passes <= 3


@given(st.lists(st.sampled_from([0.0, 0.5, 0.9, 1.0]), min_size=1, max_size=60), st.integers(0, 2**63))
@settings(max_examples=25, deadline=None)
def test_the_interval_of_a_mean_is_an_interval_and_repeats(values: list[float], seed: int) -> None:
    shares = np.array(values)
    found = mean_interval(shares, seed)
    assert 0 <= found.lo <= found.hi <= 1
    assert found.lo <= shares.mean() + 1e-9
    assert found.hi >= shares.mean() - 1e-9
    assert found == mean_interval(shares, seed)


def test_seeds_differ_between_findings_and_never_between_machines() -> None:
    assert seed_of(1, "accuracy", "steady") == seed_of(1, "accuracy", "steady") == 11594389776038400378
    assert (
        seed_of(1, "accuracy", "kill") != seed_of(1, "accuracy", "steady") != seed_of(2, "accuracy", "steady")
    )
