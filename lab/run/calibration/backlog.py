"""When a server that answers one call at a time has worked off an outage: computed from the arrivals alone.

A call that arrives at time t is answered at free(t) + `COST_MS`, where free(t) is when the server has worked off all
calls before it. So it is answered in time from the moment at which the work ahead is short enough.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from lab.model.plan import ObserverPlan
from lab.observe.calibration_server import Outage
from lab.observe.queue_server import COST_MS, HANG

# A call: when it arrived, and when the server had worked it off, in ms.
Worked = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Recovering:
    """The true recovery of a server: its moments in ms after the end of the outage.

    From `first_ms` on a new call can be answered in time. A call that arrives just then makes the next one wait again,
    so it is certain only from `last_ms` on. The two differ by less than the time for one call, if none arrive together.
    """

    first_ms: float
    last_ms: float

    def meets(self, lo_ms: float, hi_ms: float) -> bool:
        """Whether a stated interval holds the recovery."""
        return lo_ms <= self.last_ms and self.first_ms <= hi_ms


def worked_off(arrivals_ms: Sequence[float], outage: Outage) -> list[Worked]:
    """When each call is done, for arrivals in order, around one outage."""
    free_ms, found = -math.inf, []
    for arrived_ms in arrivals_ms:
        free_ms = _done_ms(max(arrived_ms, free_ms), outage)
        found.append((arrived_ms, free_ms))
    return found


def _done_ms(from_ms: float, outage: Outage) -> float:
    """When a call is done that is taken up at a time; a hang keeps what was done of it, a partition does not."""
    kind, start_ms, end_ms = outage
    if from_ms >= end_ms or from_ms + COST_MS <= start_ms:
        return from_ms + COST_MS
    kept_ms = max(0.0, start_ms - from_ms) if kind == HANG else 0.0
    return end_ms + COST_MS - kept_ms


def recovering(calls: Sequence[Worked], end_ms: float, until_ms: float, limit_ms: float) -> Recovering | None:
    """When calls are answered within `limit_ms` again after an outage's end; None where not before `until_ms`.

    `calls` are in order, from before the outage on. Only the work that the outage left counts: the search ends when
    the server has nothing to do.
    """
    first_ms, last_ms = None, end_ms
    for from_ms, to_ms, free_ms in _pieces(calls, end_ms, until_ms):
        in_time_ms = free_ms + COST_MS - limit_ms
        if in_time_ms < to_ms and first_ms is None:
            first_ms = max(from_ms, in_time_ms)
        if in_time_ms > from_ms:
            last_ms = min(in_time_ms, to_ms)
        if free_ms <= to_ms and first_ms is not None:
            return Recovering(first_ms - end_ms, last_ms - end_ms)
    return None


def _pieces(calls: Sequence[Worked], end_ms: float, until_ms: float) -> Iterator[tuple[float, float, float]]:
    """The times between two arrivals, and until when the server is busy with what arrived before each."""
    after = bisect_left(calls, (end_ms, -math.inf))
    before_ms = calls[after - 1][1] if after else -math.inf
    later = [call for call in calls[after:] if call[0] < until_ms]
    for (from_ms, free_ms), (to_ms, _) in pairwise(chain([(end_ms, before_ms)], later, [(until_ms, 0.0)])):
        yield from_ms, to_ms, free_ms


def lab_calls_max(observer: ObserverPlan, ms: float) -> int:
    """How many calls the lab starts at most in so many ms, by its rates."""
    rates_hz = (max(observer.canary_slow_hz, observer.canary_fast_hz), observer.recall_hz)
    return sum(math.floor(rate_hz * ms / 1000) + 1 for rate_hz in rates_hz)


def lab_may_add(
    arrivals_ms: Sequence[float], outage: Outage, until_ms: float, limit_ms: float, observer: ObserverPlan
) -> tuple[int, float]:
    """How many calls the lab may start from an outage's begin until the recovery, and by how many ms they delay it.

    Each takes the server `COST_MS`, and more of the load arrives while it is worked off. All of them are taken to
    arrive at the outage's begin, which is the worst case.
    """
    _, start_ms, end_ms = outage
    alone = recovering(worked_off(arrivals_ms, outage), end_ms, until_ms, limit_ms)
    reached, calls = alone, 0
    while alone is not None and reached is not None:
        needed = lab_calls_max(observer, end_ms + reached.last_ms - start_ms + COST_MS)
        if needed <= calls:
            return calls, reached.first_ms - alone.first_ms
        calls = needed
        with_lab = sorted([*arrivals_ms, *[start_ms] * calls])
        reached = recovering(worked_off(with_lab, outage), end_ms, until_ms, limit_ms)
    return calls, math.inf
