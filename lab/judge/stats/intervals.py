"""Confidence intervals for shares, percentiles and means; 95 %, two-sided.

Requests that follow each other are not independent, because one stall makes many of them late. So the intervals of
shares are corrected by a design effect, estimated from up to 20 batches in order of time. A t quantile accounts for the
uncertainty of that estimate. The design effect is never below 1, so no interval is narrower than for independent
samples. Sources: batch means, Law & Kelton, Simulation Modeling and Analysis; exact binomial interval, Clopper &
Pearson 1934; BCa bootstrap, Efron 1987.

SciPy is imported where it is used: it takes some 75 MB and seconds, and the process that runs a plan needs it only once
the run is over.
"""

import hashlib
import math
import warnings
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lab.model.verdict import Interval

BATCHES = 20
ALPHA = 0.05
RESAMPLES = 1999

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]


def seed_of(seed: int, check: str, subject: str) -> int:
    """A seed for resampling, the same on every machine and different for each finding."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{check}/{subject}".encode()).digest()[:8])


def exact_interval(successes: float, n: float, alpha: float = ALPHA) -> Interval:
    """Clopper-Pearson interval of a share; successes may be fractional, as a sum of values in [0, 1] is."""
    lo, hi = _exact(np.array([successes]), np.array([n]), np.array([alpha]))
    return Interval(float(lo[0]), float(hi[0]))


def share_interval(surely: Flags, possibly: Flags, missing: int = 0) -> Interval:
    """Interval of the share of bad observations, in order of time.

    `surely` marks observations known to be bad; `possibly` marks these and the unknown ones. `missing` is the number of
    observations without any record. Unknown and missing ones count as good at the lower end and as bad at the upper.
    """
    lo, _ = _bounds(_by_batch(surely[:, None]), surely.size)
    _, hi = _bounds(_by_batch(possibly[:, None]), possibly.size)
    n = surely.size
    return Interval(float(lo[0]) * n / (n + missing), (float(hi[0]) * n + missing) / (n + missing))


def percentile(values: Floats, share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed. An infinite value means "never"."""
    return float(np.sort(values)[max(0, math.ceil(share * values.size - 1e-9) - 1)])


def percentile_interval(at_best: Floats, at_worst: Floats, share: float, missing: int = 0) -> Interval:
    """Interval of a percentile of latencies in order of time, by inverting `share_interval` at every value.

    `hi` is the smallest value above which, with confidence, less than 1 - `share` of the values lie; this must also
    hold for every larger value. `lo` is the largest value that, with confidence, more than 1 - `share` of the values
    reach; this must also hold for every smaller value. `at_best` and `at_worst` are the lowest and highest possible
    latencies; they differ where a latency is unknown. Infinite means never answered. The `missing` requests count as
    answered at once in `lo`, and as never answered in `hi`.
    """
    bad = 1 - share
    lo = _largest_surely_reached(at_best, bad * (at_best.size + missing) / at_best.size)
    grid, n = _grid(at_worst), at_worst.size
    _, over = _bounds(_counts_reaching(at_worst, grid)[:, 1:], n)
    not_fine = np.flatnonzero((over * n + missing) / (n + missing) >= bad)
    hi = float(np.append(grid, np.inf)[not_fine[-1] + 1 if not_fine.size else 0])
    return Interval(min(lo, hi), hi)


def mean_interval(values: Floats, seed: int) -> Interval:
    """Interval of the mean of values in [0, 1]: BCa bootstrap, or Clopper-Pearson if all values are equal."""
    if values.size == 0:
        return Interval(0.0, 1.0)
    exact = exact_interval(float(values.sum()), values.size)
    if np.ptp(values) == 0:
        return exact
    from scipy import stats

    with warnings.catch_warnings():
        # With few distinct values BCa can be undefined. Its result is then NaN, which is handled below.
        warnings.simplefilter("ignore")
        rng = np.random.default_rng(seed)
        found = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, batch=1000, method="BCa", rng=rng)
    lo, hi = float(found.confidence_interval.low), float(found.confidence_interval.high)
    if not (math.isfinite(lo) and math.isfinite(hi)):
        return exact
    return Interval(max(0.0, lo), min(1.0, hi))


def _largest_surely_reached(values: Floats, bad: float) -> float:
    grid = _grid(values)
    reached, _ = _bounds(_counts_reaching(values, grid), values.size)
    unsure = np.flatnonzero(reached <= bad)
    sure = unsure[0] if unsure.size else reached.size
    return float(np.append(grid, np.inf)[sure - 1]) if sure else 0.0


def _grid(values: Floats) -> Floats:
    return np.unique(values[np.isfinite(values)])


def _split(n: int) -> int:
    """How many batches `n` observations allow, with at least two observations in each."""
    return max(1, min(BATCHES, n // 2))


def _by_batch(flags: Flags) -> Counts:
    """Counts per batch, int64[batches, columns], of flags bool[n, columns] in order of time."""
    return np.array([part.sum(axis=0) for part in np.array_split(flags, _split(flags.shape[0]))])


def _counts_reaching(values: Floats, grid: Floats) -> Counts:
    """How many values of each batch reach each point of their own grid, and infinity: int64[batches, grid + 1]."""
    sizes, columns = _batch_sizes(values.size), grid.size + 1
    place = np.repeat(np.arange(sizes.size), sizes) * columns + np.searchsorted(grid, values)
    counts = np.bincount(place, minlength=sizes.size * columns).reshape(sizes.size, columns)
    return counts[:, ::-1].cumsum(axis=1)[:, ::-1]


@cache
def _batch_sizes(n: int) -> Counts:
    """The number of observations in each batch, nearly equal, the larger batches first."""
    batches = _split(n)
    return n // batches + (np.arange(batches) < n % batches)


def _bounds(counts: Counts, n: int) -> tuple[Floats, Floats]:
    """Lower and upper interval ends of the share of `counts` among `n` observations; one pair per column.

    `counts` is int64[batches, columns].
    """
    batches = counts.shape[0]
    bad = counts.sum(axis=0)
    share = bad / n
    sizes = _batch_sizes(n)
    spread = share * (1 - share)
    mixed = spread > 0
    effect, alpha = np.ones_like(share), np.full_like(share, ALPHA)
    if batches > 1 and mixed.any():
        # The batches are nearly equal in size. Their variance is compared with the binomial variance.
        residual = (counts[:, mixed] - sizes[:, None] * share[mixed]) ** 2 / sizes[:, None]
        effect[mixed] = np.maximum(1.0, residual.sum(axis=0) / (batches - 1) / spread[mixed])
        alpha[mixed] = _alpha(batches)
    return _exact(bad / effect, n / effect, alpha)


@cache
def _alpha(batches: int) -> float:
    """The level at which a normal interval is as wide as the t interval for this number of batches."""
    from scipy import special

    return float(2 * special.ndtr(-special.stdtrit(batches - 1, 1 - ALPHA / 2)))


def _exact(successes: Floats, n: Floats, alpha: Floats) -> tuple[Floats, Floats]:
    from scipy import special

    failures = n - successes
    lo = special.betaincinv(successes, failures + 1, alpha / 2)
    hi = special.betaincinv(successes + 1, failures, 1 - alpha / 2)
    return np.where(successes <= 0, 0.0, lo), np.where(failures <= 0, 1.0, hi)
