"""What the arrivals alone tell of a server that answers one call at a time: when it has worked off an outage."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.model.plan import ObserverPlan
from lab.observe.queue_server import COST_MS, HANG, KINDS, PARTITION
from lab.run.calibration.backlog import Recovering, lab_calls_max, lab_may_add, recovering, worked_off

LIMIT_MS = 200.0
BOUNDED = ObserverPlan(0.5, 0.5, 3000, LIMIT_MS, 2, 0.5, 10, 5.0)


def every(period_ms: float, to_ms: float = 20_000.0) -> list[float]:
    return [n * period_ms for n in range(int(to_ms / period_ms))]


def recovery_of(arrivals_ms: Sequence[float], outage: tuple[str, float, float]) -> Recovering | None:
    return recovering(worked_off(arrivals_ms, outage), outage[2], 20_000.0, LIMIT_MS)


def test_calls_are_worked_off_one_after_the_other() -> None:
    assert worked_off([0.0, 10.0, 500.0], (HANG, 5000.0, 6000.0)) == [
        (0.0, 45.0),
        (10.0, 90.0),
        (500.0, 545.0),
    ]


def test_a_hang_keeps_what_was_done_of_a_call_and_a_partition_does_not() -> None:
    for kind, done_ms in ((HANG, 1035.0), (PARTITION, 1045.0)):
        assert worked_off([90.0, 500.0], (kind, 100.0, 1000.0)) == [
            (90.0, done_ms),
            (500.0, done_ms + COST_MS),
        ]


def test_the_backlog_is_the_calls_of_the_outage_and_those_that_arrive_while_it_is_worked_off() -> None:
    """20 calls arrive in 5 s: 900 ms of work, and four calls arrive until only 155 ms of it are left."""
    truth = recovery_of(every(250.0), (HANG, 4999.0, 9999.0))
    assert truth is not None
    assert truth.first_ms == pytest.approx(20 * COST_MS - (LIMIT_MS - COST_MS) + 4 * COST_MS)
    # The call of 11000 ms arrives at 1001 ms, just after the server could answer in time.
    assert truth.last_ms - truth.first_ms <= COST_MS


def test_an_outage_in_which_nobody_called_is_over_at_its_end() -> None:
    assert recovery_of([0.0, 15_000.0], (HANG, 5000.0, 9000.0)) == Recovering(0.0, 0.0)
    assert recovery_of([], (HANG, 5000.0, 9000.0)) == Recovering(0.0, 0.0)


def test_a_backlog_that_lasts_until_the_next_outage_has_no_recovery() -> None:
    calls = worked_off(every(40.0), (HANG, 1000.0, 5000.0))
    assert recovering(calls, 5000.0, 9000.0, LIMIT_MS) is None


@given(st.sampled_from(KINDS), st.floats(500, 9000), st.floats(10, 6000), st.integers(100, 400))
def test_a_call_is_in_time_after_the_recovery_and_late_before_it(
    kind: str, start_ms: float, hold_ms: float, period_ms: int
) -> None:
    """The recovery by its definition: a call beside the others is answered in time from then on, and not before."""
    arrivals, outage = every(float(period_ms)), (kind, start_ms, start_ms + hold_ms)
    truth = recovery_of(arrivals, outage)
    assert truth is not None and 0 <= truth.first_ms <= truth.last_ms

    def takes_ms(at_ms: float) -> float:
        before = [arrived for arrived in arrivals if arrived < at_ms]
        return worked_off([*before, at_ms], outage)[-1][1] - at_ms

    assert takes_ms(outage[2] + truth.first_ms + 1e-6) <= LIMIT_MS + 1e-3
    assert takes_ms(outage[2] + truth.last_ms + 1e-6) <= LIMIT_MS + 1e-3
    if truth.first_ms > 1:
        assert takes_ms(outage[2] + truth.first_ms - 1) > LIMIT_MS - 1e-3


def test_an_interval_holds_the_recovery_if_they_overlap() -> None:
    truth = Recovering(100.0, 145.0)
    assert truth.meets(145.0, 200.0) and truth.meets(0.0, 100.0) and truth.meets(0.0, 900.0)
    assert not truth.meets(146.0, 200.0)
    assert not truth.meets(0.0, 99.0)


def test_what_the_lab_may_add_follows_from_its_rates_and_the_load() -> None:
    outage = (HANG, 4999.0, 9999.0)
    calls, added_ms = lab_may_add(every(250.0), outage, 20_000.0, LIMIT_MS, BOUNDED)
    assert calls == lab_calls_max(BOUNDED, 6300.0) == 8
    # Each takes 45 ms, and while these 360 ms are worked off, one or two calls of the load arrive.
    assert calls * COST_MS < added_ms <= (calls + 2) * COST_MS


@given(
    st.sampled_from(KINDS), st.floats(1000, 6000), st.floats(0, 2000), st.floats(0, 2000), st.floats(0, 250)
)
def test_a_lab_within_its_rates_adds_no_more_than_that(
    kind: str, hold_ms: float, canary_from_ms: float, recall_from_ms: float, load_from_ms: float
) -> None:
    """Whenever its calls fall: it asks each operation every two seconds."""
    load = [load_from_ms + at_ms for at_ms in every(250.0)]
    lab = [begin_ms + at_ms for begin_ms in (canary_from_ms, recall_from_ms) for at_ms in every(2000.0)]
    outage = (kind, 5000.0, 5000.0 + hold_ms)
    alone, together = recovery_of(load, outage), recovery_of(sorted(load + lab), outage)
    assert alone is not None and together is not None
    _, may_add_ms = lab_may_add(load, outage, 20_000.0, LIMIT_MS, BOUNDED)
    assert alone.first_ms - 1e-6 <= together.first_ms <= alone.first_ms + may_add_ms + 1e-6


def test_a_lab_that_asks_so_often_that_the_backlog_stays_may_add_anything() -> None:
    often = ObserverPlan(50.0, 50.0, 3000, LIMIT_MS, 2, 50.0, 10, 5.0)
    assert lab_may_add(every(250.0), (HANG, 4999.0, 9999.0), 20_000.0, LIMIT_MS, often)[1] == math.inf
