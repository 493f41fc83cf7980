"""What a plan makes of the target's capacity on this machine: the lab's own rates, and what is undecided."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.judge.checks import default_bounds
from lab.model.capacity import Capacity, OperationCost
from lab.model.plan import Plan
from lab.model.scenario import FaultSpec, Scenario
from lab.plan import capacity_facts, describe, schedule
from lab.plan.observer_budget import SHARE_MAX, SHARE_PLANNED, observer_plan
from lab.plan.overload import LOAD_SHARE_MAX, overload
from lab.read.targets import load_target
from lab.repository import TARGETS
from tests.pure.test_schedule_decisions import Stall

TARGET = load_target(TARGETS / "workspace-qdrant-mcp")
BY_SPEED = {"latency", "errors", "recovery", "recovery_bound"}


def capacity(mix_per_s: float, *, canary_per_s: float = 0.0, recall_per_s: float = 0.0) -> Capacity:
    """A machine on which every operation is as fast as the mix, unless the test says otherwise."""
    rates = dict.fromkeys({*TARGET.mix, TARGET.recall}, mix_per_s)
    rates[TARGET.canary] = canary_per_s or mix_per_s
    rates[TARGET.recall] = recall_per_s or mix_per_s
    costs = {name: OperationCost(per_s, 1000 / per_s, 1000 / per_s, 20) for name, per_s in rates.items()}
    return Capacity(costs, mix_per_s, 1.1, 9.5)


FAST = capacity(200, canary_per_s=600, recall_per_s=200)
SLOW = capacity(21, canary_per_s=90, recall_per_s=19)
TINY = capacity(1.2, canary_per_s=4, recall_per_s=1)


def planned(measured: Capacity | None, rate_per_s: float | None = None, *, trials: int = 1) -> Plan:
    faults = (FaultSpec("stall", "mcp", Stall()),)
    required = ("latency", "errors", "accuracy", "recovery")
    asked = Scenario(
        "test",
        "why",
        900,
        faults,
        default_bounds(),
        required,
        rate_per_s,
        "test.yaml",
        trials=trials,
    )
    return schedule(
        asked, TARGET, 1, capabilities={}, documents=1000, queries=200, corpus="test", capacity=measured
    )


@pytest.mark.parametrize(
    ("measured", "canary_hz", "recall_hz"), [(FAST, 2.0, 1.0), (SLOW, 0.9, 0.19), (TINY, 0.04, 0.01)]
)
def test_the_lab_asks_as_often_as_the_machine_allows(
    measured: Capacity, canary_hz: float, recall_hz: float
) -> None:
    observer = planned(measured).observer
    assert observer.canary_slow_hz == observer.canary_fast_hz == pytest.approx(canary_hz)
    assert observer.recall_hz == pytest.approx(recall_hz)
    assert (observer.outstanding_max, observer.recall_outstanding_max) == (1, 1)
    assert observer.witnesses == ("canary", "load", "truth")


@given(st.floats(0.01, 1e5), st.floats(0.01, 1e5), st.floats(0.01, 1e5))
def test_all_that_the_lab_asks_stays_below_its_budget_on_any_machine(
    mix: float, canary: float, recall: float
) -> None:
    measured = capacity(mix, canary_per_s=canary, recall_per_s=recall)
    plan = planned(measured)
    assert 0 < measured.share(plan.observer_hz()) <= SHARE_PLANNED + 1e-6
    assert min(plan.observer_hz().values()) > 0
    assert plan.observer.canary_fast_hz <= 2 and plan.observer.recall_hz <= 1


def test_a_canary_that_is_the_truth_query_counts_with_it() -> None:
    target = replace(TARGET, canary=TARGET.recall)
    plan = replace(planned(SLOW), target=target)
    assert plan.observer_hz() == {target.recall: plan.observer.canary_fast_hz + plan.observer.recall_hz}


@pytest.mark.parametrize("slo_ms", [1.0, 200.0, 5000.0, 20_000.0])
def test_a_call_of_the_lab_waits_as_long_as_a_request_and_longer_than_the_slo(slo_ms: float) -> None:
    asked = Scenario("test", "why", 600, (), {**default_bounds(), "latency_p95_ms": slo_ms}, ())
    deadline_ms = observer_plan(asked, TARGET, SLOW).canary_deadline_ms
    assert deadline_ms >= TARGET.request_timeout_ms and deadline_ms >= slo_ms + 100


def test_a_load_of_more_than_half_of_the_capacity_decides_nothing_that_depends_on_speed() -> None:
    plan = planned(TINY, trials=3)
    said = {d.check for d in plan.decisions if d.unfit}
    assert said == BY_SPEED
    for decision in plan.decisions:
        assert decision.decidable is not decision.unfit or decision.check not in BY_SPEED
        if decision.unfit:
            assert "4/s is 333% of the 1.2 calls/s" in decision.reason and decision.needs_s is None
    text = "\n".join(describe(plan))
    assert "load 4/s = 333 %" in text
    assert "INCONCLUSIVE at best: recovery is required" in text


@pytest.mark.parametrize(("rate_per_s", "too_much"), [(10.4, False), (10.5, False), (10.6, True)])
def test_half_of_the_capacity_is_still_judged(rate_per_s: float, too_much: bool) -> None:
    plan = planned(SLOW, rate_per_s)
    assert (overload(plan) is not None) is too_much is any(d.unfit for d in plan.decisions)
    assert plan.load_per_s() == pytest.approx(rate_per_s)
    assert (plan.load_per_s() > LOAD_SHARE_MAX * 21) is too_much


def test_without_a_measurement_the_documented_capacity_only_sets_the_rates() -> None:
    plan = planned(None, 30)
    assert plan.capacity is None and not any(d.unfit for d in plan.decisions)
    rates = sum(plan.observer_hz().values())
    assert 0 < rates / TARGET.capacity_per_s <= SHARE_MAX
    (line,) = [line for line in describe(plan) if "target.yaml" in line]
    assert "not measured: 38 calls/s" in line and "load 30/s = 79%" in line


def test_the_capacity_is_said_in_one_line() -> None:
    words = SLOW.in_words(4, {"list": 1.0, TARGET.recall: 0.3})
    assert words == "21 calls/s of this mix, one at a time; load 4/s = 19 %, observer 2.7 %"
    assert "about 4.2 at a time" in replace(SLOW, side_by_side=4.2).in_words(4, {})
    assert f"this machine: {capacity_facts(planned(SLOW), SLOW)['words']}" in describe(planned(SLOW))


def test_the_share_of_an_operation_that_was_never_measured_is_not_made_up() -> None:
    with pytest.raises(KeyError):
        SLOW.share({"unknown": 1.0})


def test_truth_queries_of_the_load_count_where_the_plan_uses_them() -> None:
    target = replace(TARGET, mix={"search_dense": 50, "list": 50})
    asked = Scenario("test", "why", 120, (), default_bounds(), ())

    def expected(witnesses: tuple[str, ...]) -> int:
        from lab.plan.decisions import decisions_of

        plan = schedule(asked, target, 1, capabilities={}, documents=9, queries=200, corpus="", capacity=SLOW)
        plan = replace(plan, observer=replace(plan.observer, witnesses=witnesses))
        found = [d for d in decisions_of(plan, lambda duration_s: plan) if d.check == "accuracy"]
        return int(found[0].reason.split()[1])

    assert expected(("canary", "load", "truth")) > expected(("canary",)) + 50


@pytest.mark.parametrize(("noise_ms", "unfit"), [(0.4, False), (99.0, False), (100.0, True), (400.0, True)])
def test_a_machine_that_wakes_the_lab_too_late_decides_no_latency(noise_ms: float, unfit: bool) -> None:
    plan = planned(replace(SLOW, noise_ms=noise_ms))
    assert {d.check for d in plan.decisions if d.unfit} == ({"latency"} if unfit else set())
    assert any("cannot be told from its noise" in line for line in describe(plan)) is unfit
    assert (capacity_facts(plan, replace(SLOW, noise_ms=noise_ms))["noise"] is not None) is unfit
