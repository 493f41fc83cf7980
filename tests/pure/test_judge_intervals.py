"""The intervals in numbers: against SciPy, against a plain calculation of the batch means, and at their edges."""

import math
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from lab.judge.stats import intervals
from lab.judge.stats.intervals import (
    exact_interval,
    mean_interval,
    percentile,
    percentile_interval,
    share_interval,
)
from lab.model.verdict import Interval

INF = math.inf


def batch_means_interval(bad: NDArray[np.bool_]) -> tuple[float, float]:
    """The interval of the share of bad observations by batch means, one batch and one step after the other."""
    n, share = bad.size, float(bad.mean())
    batches = np.array_split(bad, max(1, min(20, n // 2)))
    effect, alpha = 1.0, 0.05
    if len(batches) > 1 and 0 < share < 1:
        spread = sum(len(part) * (float(part.mean()) - share) ** 2 for part in batches) / (len(batches) - 1)
        effect = max(1.0, spread / (share * (1 - share)))
        alpha = 2 * stats.norm.sf(stats.t.ppf(0.975, len(batches) - 1))
    successes, size = share * n / effect, n / effect
    lo = 0.0 if share == 0 else stats.beta.ppf(alpha / 2, successes, size - successes + 1)
    hi = 1.0 if share == 1 else stats.beta.ppf(1 - alpha / 2, successes + 1, size - successes)
    return float(lo), float(hi)


def flags(n: int, *bad: int) -> NDArray[np.bool_]:
    made = np.zeros(n, np.bool_)
    made[list(bad)] = True
    return made


@pytest.mark.parametrize(
    "bad",
    [
        flags(1000, *range(500, 520)),
        flags(1000, *range(0, 1000, 50)),
        flags(101, 3, 4, 5, 40, 77),
        flags(47, *range(20)),
        flags(7, 0, 1, 2),
        flags(5, 0),
        flags(4, 1),
        flags(3, 1),
        flags(2, 1),
        flags(1),
        flags(1, 0),
        flags(40, *range(40)),
        flags(40),
    ],
)
def test_the_interval_of_a_share_is_that_of_its_batch_means(bad: NDArray[np.bool_]) -> None:
    found = share_interval(bad, bad)
    assert (found.lo, found.hi) == pytest.approx(batch_means_interval(bad), rel=1e-9, abs=1e-12)


def test_a_burst_counts_as_fewer_independent_observations_and_no_observation_as_more() -> None:
    """20 of 1000 in one batch have a design effect of 20 * 0.98 / 0.98 = 20: one bad among 50."""
    bad = flags(1000, *range(500, 520))
    found = share_interval(bad, bad)
    alpha = 2 * stats.norm.sf(stats.t.ppf(0.975, 19))
    burst = exact_interval(20 / found_effect(bad), 1000 / found_effect(bad), alpha)
    assert (found.lo, found.hi) == pytest.approx((burst.lo, burst.hi))
    # Where the bad ones keep an equal distance, the effect would be 0, and the interval too narrow.
    even = flags(1000, *range(0, 1000, 50))
    assert share_interval(even, even).hi == pytest.approx(exact_interval(20, 1000, alpha).hi)


def found_effect(bad: NDArray[np.bool_]) -> float:
    counts = [int(part.sum()) for part in np.array_split(bad, 20)]
    share = float(bad.mean())
    return sum((count - 50 * share) ** 2 / 50 for count in counts) / 19 / (share * (1 - share))


def test_unknown_and_missing_observations_widen_the_interval_by_exactly_their_share() -> None:
    surely, possibly = flags(100, 3, 50), flags(100, 3, 50, 70, 90)
    lo, hi = batch_means_interval(surely)[0], batch_means_interval(possibly)[1]
    known = share_interval(surely, possibly)
    assert (known.lo, known.hi) == pytest.approx((lo, hi))
    lost = share_interval(surely, possibly, missing=25)
    assert (lost.lo, lost.hi) == pytest.approx((lo * 100 / 125, (hi * 100 + 25) / 125))


def test_the_default_level_is_95_percent_and_another_level_counts() -> None:
    assert intervals.ALPHA == 0.05
    narrow = exact_interval(3, 100, 0.5)
    expected = stats.binomtest(3, 100).proportion_ci(0.5, "exact")
    assert (narrow.lo, narrow.hi) == pytest.approx((expected.low, expected.high))


def test_nothing_bad_begins_at_zero_and_all_bad_ends_at_one() -> None:
    assert exact_interval(0, 10).lo == 0.0 and exact_interval(0, 10).hi == pytest.approx(0.3084971)
    assert exact_interval(10, 10).hi == 1.0 and exact_interval(10, 10).lo == pytest.approx(0.6915029)
    assert exact_interval(0.5, 10).lo > 0.0 and exact_interval(9.5, 10).hi < 1.0
    assert exact_interval(0, 0) == Interval(0.0, 1.0)


@pytest.mark.parametrize(
    ("n", "share", "place"),
    [(1, 0.95, 1), (1, 0.0, 1), (10, 0.5, 5), (20, 0.95, 19), (21, 0.95, 20), (100, 0.99, 99), (3, 1.0, 3)],
)
def test_a_percentile_is_the_smallest_value_that_its_share_does_not_exceed(
    n: int, share: float, place: int
) -> None:
    values = np.arange(float(n), 0.0, -1.0)
    assert percentile(values, share) == place


def test_a_share_that_is_whole_but_for_its_rounding_takes_no_further_value() -> None:
    """0.07 * 100 is 7.000000000000001 in floating point: the seventh value is meant."""
    assert 0.07 * 100 > 7
    assert percentile(np.arange(1.0, 101.0), 0.07) == 7


def by_definition(at_best: list[float], at_worst: list[float], share: float, missing: int = 0) -> Interval:
    """The interval of a percentile from `share_interval` alone, at one value after the other."""
    bad, best, worst = 1 - share, np.array(at_best), np.array(at_worst)

    def over(limit: float) -> float:
        late = worst > limit
        return share_interval(late, late, missing).hi

    def reaching(limit: float) -> float:
        late = best >= limit
        return share_interval(late, late, missing).lo

    hi = INF
    for value in sorted({v for v in at_worst if v < INF}, reverse=True):
        if over(value) >= bad:
            break
        hi = value
    lo = 0.0
    for value in sorted(set(at_best)):
        if reaching(value) <= bad:
            break
        lo = value
    return Interval(min(lo, hi), hi)


RNG = np.random.default_rng(11)
LATENCIES = {
    "many": list(np.round(RNG.lognormal(4, 0.5, 400))),
    "few": list(np.round(RNG.lognormal(4, 0.5, 30))),
    "a burst": [10.0] * 150 + [900.0, 901.0, 902.0] * 4 + [10.0 + n % 5 for n in range(150)],
    "some never": [20.0 + n % 7 for n in range(200)] + [INF] * 30 + [25.0] * 100,
    "half never": [INF if n % 2 else 5.0 + n % 3 for n in range(60)],
    "one": [5.0],
    "two": [5.0, 9.0],
    "equal": [7.0] * 100,
    "all but never": [3.0] + [INF] * 99,
}


@pytest.mark.parametrize("name", LATENCIES)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("missing", [0, 1, 15])
def test_the_interval_of_a_percentile_is_its_definition_at_every_value(
    name: str, share: float, missing: int
) -> None:
    values = LATENCIES[name]
    found = percentile_interval(np.array(values), np.array(values), share, missing)
    expected = by_definition(values, values, share, missing)
    assert (found.lo, found.hi) == (expected.lo, expected.hi)


def test_an_unknown_latency_counts_as_its_best_below_and_as_its_worst_above() -> None:
    best = [10.0 + n % 9 for n in range(300)]
    worst = [INF if n % 40 == 0 else value for n, value in enumerate(best)]
    found = percentile_interval(np.array(best), np.array(worst), 0.9)
    expected = by_definition(best, worst, 0.9)
    assert (found.lo, found.hi) == (expected.lo, expected.hi)
    assert percentile_interval(np.array(best), np.array([INF] * 300), 0.9) == Interval(expected.lo, INF)
    # Where a latency is at most 5 ms and at least 100 ms, the data contradict themselves: no interval is upside down.
    assert percentile_interval(np.full(300, 100.0), np.full(300, 5.0), 0.5) == Interval(5.0, 5.0)


def test_requests_without_any_record_count_by_default_as_none() -> None:
    values = np.array([10.0] * 58 + [20.0] * 2)
    assert percentile_interval(values, values, 0.95) == percentile_interval(values, values, 0.95, 0)
    just, late = np.zeros(72, bool), np.array([10.0] * 72)
    assert share_interval(just, just).hi == share_interval(just, just, 0).hi < 0.05
    assert percentile_interval(late, late, 0.95).hi == 10.0
    assert percentile_interval(late, late, 0.95, 1).hi == INF


def test_a_share_of_exactly_the_bound_is_neither_surely_below_nor_surely_above() -> None:
    values = np.array([1.0] + [2.0] * 19)
    late = values > 1
    share = share_interval(late, late)
    # Both are above a half, so taking them from 1 twice is exact.
    assert 0.5 < share.lo < share.hi
    assert percentile_interval(values, values, 1 - share.hi).hi == 2.0
    assert percentile_interval(values, values, 1 - share.lo).lo == 1.0


def test_the_mean_of_no_value_may_be_anything_and_that_of_one_is_exact() -> None:
    assert mean_interval(np.array([]), 1) == Interval(0.0, 1.0)
    assert mean_interval(np.array([1.0]), 1) == exact_interval(1.0, 1)
    assert mean_interval(np.array([0.5]), 1) == exact_interval(0.5, 1)
    assert mean_interval(np.full(20, 0.75), 1) == exact_interval(15.0, 20)


def test_the_interval_of_a_mean_is_the_bca_bootstrap_of_its_seed() -> None:
    values = np.array([1.0] * 30 + [0.9] * 8 + [0.4, 0.0])
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=1999, batch=1000, method="BCa", rng=np.random.default_rng(5)
    ).confidence_interval
    assert mean_interval(values, 5) == Interval(float(expected.low), float(expected.high))
    assert mean_interval(values, 6) != mean_interval(values, 5)
    two = np.array([0.2, 0.9])
    assert mean_interval(two, 5) != exact_interval(1.1, 2)


def test_a_bootstrap_without_a_result_is_replaced_by_the_exact_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.array([0.9, 1.0, 1.0])
    for low, high in ((math.nan, 1.0), (0.5, math.nan)):
        monkeypatch.setattr(stats, "bootstrap", lambda *_, low=low, high=high, **__: _Result(low, high))
        assert mean_interval(values, 1) == exact_interval(float(values.sum()), 3)
    monkeypatch.setattr(stats, "bootstrap", lambda *_, **__: _Result(-0.25, 1.25))
    assert mean_interval(values, 1) == Interval(0.0, 1.0)


class _Result:
    """What SciPy's bootstrap returns."""

    def __init__(self, low: float, high: float) -> None:
        self.confidence_interval = self
        self.low, self.high = low, high


def test_a_bootstrap_that_cannot_be_computed_warns_nobody() -> None:
    """With one wrong answer among many, BCa divides by zero in some seeds; the judgement must not print that."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(6):
            found = mean_interval(np.array([1.0] * 4 + [0.0]), seed)
            assert 0.0 <= found.lo <= 0.8 <= found.hi <= 1.0
