"""When something counts as recovered: the truth of a synthetic outage lies in the interval, and relapses do
not pass.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.judge.stats.observations import (
    Observation,
    Observations,
    ProbeResults,
    accurate,
    accurate_enough,
    answering,
    idle,
    within_slo,
)
from lab.judge.stats.recovery_clock import clocks, first_harm, recovery_point
from lab.model.plan import ObserverPlan
from lab.model.recovery import CANARY, FIVE_IN_A_ROW
from lab.model.samples import Layer, Probe, Recall

OBSERVER = ObserverPlan(2.0, 10.0, 2000, 200.0, 5, 1.5, 10, 5.0)


def watched(
    well_s: float, seconds: float = 70.0, again_bad: tuple[float, float] = (1e9, 1e9)
) -> list[Observation]:
    """Probes every 100 ms for `seconds`, bad until `well_s` and again in a later stretch."""
    seen = []
    for tick in range(int(seconds * 10)):
        at_s = tick / 10
        good = at_s >= well_s and not again_bad[0] <= at_s < again_bad[1]
        seen.append(Observation(at_s * 1000, at_s * 1000 + 15, good))
    return seen


@given(st.floats(0.0, 60.0))
@settings(max_examples=80, deadline=None)
def test_the_interval_holds_the_truth_and_is_no_wider_than_a_period_and_an_answer(well_s: float) -> None:
    found = clocks(Observations.of(watched(well_s)), -30_000.0, 0.0, CANARY)
    assert found is not None
    clock = found[0]
    assert clock.hi_s is not None
    assert clock.lo_s <= well_s <= clock.hi_s
    assert clock.hi_s - clock.lo_s <= 0.1151
    assert found[1].lo_s == pytest.approx(clock.lo_s + 30 if well_s > 0 else 0)


def test_what_never_recovers_is_censored_at_the_last_bad_probe() -> None:
    found = clocks(Observations.of(watched(1e9, 65)), 0.0, 0.0, CANARY)
    assert found is not None
    assert found[0].censored
    assert found[0].hi_s is None
    assert found[0].lo_s == pytest.approx(64.9)


def test_well_for_less_than_a_window_is_not_recovered_and_not_surely_ill() -> None:
    found = clocks(Observations.of(watched(30.5, 32)), 0.0, 0.0, CANARY)
    assert found is not None
    assert found[0].censored
    assert found[0].lo_s == pytest.approx(30.4)


def test_a_relapse_within_the_hold_restarts_the_count() -> None:
    found = clocks(Observations.of(watched(5, 90, again_bad=(20, 25))), 0.0, 0.0, CANARY)
    assert found is not None
    assert found[0].hi_s == pytest.approx(25.015)


def test_a_relapse_after_the_hold_is_another_story() -> None:
    found = clocks(Observations.of(watched(5, 90, again_bad=(40, 45))), 0.0, 0.0, CANARY)
    assert found is not None
    assert found[0].hi_s == pytest.approx(5.015)


def test_one_bad_probe_in_twenty_is_forgiven_and_two_are_not() -> None:
    once, twice = watched(3), watched(3)
    once[40] = Observation(4000, 4015, False)
    twice[40], twice[45] = Observation(4000, 4015, False), Observation(4500, 4515, False)
    assert recovery_point(Observations.of(once)) == 30
    assert recovery_point(Observations.of(twice)) == 41


def test_never_bad_means_no_outage_at_all() -> None:
    held = [Observation(-20_000.0 + 100 * tick, -19_985.0 + 100 * tick, True) for tick in range(200)]
    found = clocks(Observations.of([*held, *watched(0)]), -20_000.0, 0.0, CANARY)
    assert found is not None
    assert (found[0].lo_s, found[0].hi_s) == (0.0, 0.015)
    assert (found[1].lo_s, found[1].hi_s, found[1].censored) == (0.0, 0.0, False)


def test_too_few_observations_say_nothing() -> None:
    assert clocks(Observations.of(watched(0, 1.9)), 0.0, 0.0, CANARY) is None
    assert clocks(Observations.of([]), 0.0, 0.0, FIVE_IN_A_ROW) is None


@given(st.lists(st.booleans(), min_size=0, max_size=120))
@settings(max_examples=150, deadline=None)
def test_the_scan_agrees_with_the_definition_read_out_word_by_word(goods: list[bool]) -> None:
    seen = [Observation(n * 500.0, n * 500.0 + 15, good) for n, good in enumerate(goods)]
    windows = [sum(goods[n : n + 20]) for n in range(len(goods) - 19)]

    def recovers(first: int) -> bool:
        later = range(first, len(windows))
        held = all(windows[n] >= 19 for n in later if seen[n + 19].sent_ms <= seen[first].sent_ms + 30_000)
        return goods[first] and windows[first] >= 19 and held

    expected = next((n for n in range(len(windows)) if recovers(n)), None)
    assert recovery_point(Observations.of(seen)) == expected


@given(st.floats(0.0, 9.0), st.floats(0.2, 20.0), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_the_first_harm_lies_between_the_last_good_probe_and_the_first_bad_answer(
    begins_s: float, lasts_s: float, unsent: int
) -> None:
    """Truth: what is sent from `begins_s` on is bad; the answer takes 15 ms."""
    seen = [
        Observation(n * 100.0, n * 100.0 + 15, not begins_s <= n / 10 < begins_s + lasts_s)
        for n in range(300)
    ]
    for one in range(unsent):
        seen.insert(1 + one, Observation(10.0 + one, 10.0 + one, False, asked=False))
    found = first_harm(Observations.of(seen), 0.0)
    assert found is not None
    assert found.hi_s is not None
    assert found.lo_s <= begins_s <= found.hi_s
    assert found.hi_s - found.lo_s <= 0.1151


def test_a_hanging_probe_is_noticed_when_it_ends_and_a_refused_one_before_it() -> None:
    hangs = [Observation(0, 15, True), Observation(100, 560, False), Observation(200, 660, False)]
    found = first_harm(Observations.of(hangs), 0.0)
    assert found is not None
    assert (found.lo_s, found.hi_s, found.censored) == (0.0, 0.56, False)
    refused = first_harm(Observations.of([*hangs, Observation(300, 301, False)]), 0.0)
    assert refused is not None
    assert (refused.lo_s, refused.hi_s) == (0.0, 0.301)


def test_what_never_went_bad_is_not_noticed_and_what_was_not_asked_says_nothing() -> None:
    good = [Observation(n * 100.0, n * 100.0 + 15, True) for n in range(10)]
    found = first_harm(Observations.of(good), 0.0)
    assert found is not None
    assert (found.lo_s, found.hi_s, found.censored) == (0.9, None, True)
    late = first_harm(Observations.of([*good, Observation(5000, 5015, False)]), 0.0, recovered_ms=1000.0)
    assert late == found
    assert first_harm(Observations.of([Observation(0, 0, False, asked=False)]), 0.0) is None
    assert first_harm(Observations.of([]), 0.0) is None


def test_a_slot_that_was_not_sent_moves_no_end_of_an_interval() -> None:
    """Bad until 5 s; the slots around that had no room, so the truth lies anywhere between the asked ones."""
    seen = watched(5)
    for n in range(48, 52):
        seen[n] = Observation(n * 100.0, n * 100.0, False, asked=False)
    found = clocks(Observations.of(seen), 0.0, 0.0, CANARY)
    assert found is not None
    assert (found[0].lo_s, found[0].hi_s) == (4.7, 5.215)


def test_a_probe_that_hangs_from_before_the_heal_is_bad_no_longer_than_when_it_was_sent() -> None:
    """Its answer comes late, but what it says was true when it arrived: the low end is its sending."""
    hanging = [Observation(n * 100.0, n * 100.0 + 460, False) for n in range(10)]
    answered = (Observation(n * 100.0, n * 100.0 + 15, True) for n in range(10, 60))
    found = clocks(Observations.of([*hanging, *answered]), 0.0, 500.0, CANARY)
    assert found is not None
    assert (found[0].lo_s, found[0].hi_s) == pytest.approx((0.4, 0.515))
    assert (found[1].lo_s, found[1].hi_s) == (0.9, 1.015)


def probe(outcome: str, took_ms: float | None, at_ms: float = 0.0) -> Probe:
    return Probe(at_ms, None if took_ms is None else at_ms + took_ms, "list", outcome, "")


@pytest.mark.parametrize(
    ("outcome", "took_ms", "expected"),
    [
        ("ok", 10, (True, True, True)),
        ("ok", 200, (True, True, True)),
        ("ok", 201, (True, False, True)),
        ("wrong", 10, (True, False, False)),
        ("payload", 10, (False, False, False)),
        ("is_error", 10, (False, False, False)),
        ("transport", 460, (False, False, False)),
        ("unsent", None, (False, False, False)),
    ],
)
def test_answered_in_time_and_right_are_three_things(
    outcome: str, took_ms: float | None, expected: tuple[bool, bool, bool]
) -> None:
    results = ProbeResults.of([probe(outcome, took_ms)])
    rated = (answering(results)[0], within_slo(results, 200.0)[0], accurate(results)[0])
    assert tuple(observation.good for observation in rated) == expected
    assert {observation.asked for observation in rated} == {outcome != "unsent"}


def test_an_unanswered_truth_query_found_nothing() -> None:
    def row(answered: bool, hits: int) -> Recall:
        return Recall(0, 30, "dense", "q", answered, hits, 10, Layer.OK if answered else Layer.IS_ERROR, "")

    assert [accurate_enough([row(*one)], 0.9)[0].good for one in ((True, 9), (True, 8), (False, 9))] == [
        True,
        False,
        False,
    ]


def test_a_store_is_idle_only_when_it_says_so() -> None:
    looks = [Probe(0, 5, "store_idle", outcome, "") for outcome in ("ok", "busy", "transport", "payload")]
    assert [reading.good for reading in idle(ProbeResults.of(looks))].count(True) == 1
    busy_for_4_s = [
        Probe(n * 500.0, n * 500.0 + 5, "store_idle", "busy" if n < 8 else "ok", "") for n in range(20)
    ]
    found = clocks(idle(ProbeResults.of(busy_for_4_s)), 0.0, 0.0, FIVE_IN_A_ROW)
    assert found is not None
    assert (found[0].lo_s, found[0].hi_s) == (3.5, 4.005)
