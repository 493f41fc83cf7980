"""What the planner promises: feasible steps for any campaign, and durations that keep what they announce."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import ScenarioError
from lab.judge.checks import default_bounds
from lab.model.plan import FAULT, STEADY, WARM_UP, Plan
from lab.model.recovery import CANARY
from lab.model.scenario import FaultFacts, FaultSpec, Scenario
from lab.plan import describe, duration_min_s, schedule
from lab.read.targets import load_target

TARGET = load_target(Path(__file__).resolve().parents[2] / "compose" / "targets" / "workspace-qdrant-mcp")
CLEAN = replace(TARGET, known_issues=())


@dataclass(frozen=True, slots=True)
class Stall(FaultFacts):
    """A fault that every machine can inject."""

    kind: ClassVar[str] = "stall"
    target: str = "mcp"
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Drill(FaultFacts):
    """A fault that needs what few machines have."""

    kind: ClassVar[str] = "drill"
    needs: ClassVar[tuple[str, ...]] = ("root", "drill")
    target: str = "qdrant"


def scenario(faults: tuple[FaultSpec, ...], duration_s: float, **more: float) -> Scenario:
    bounds = {**default_bounds(), **{name: value for name, value in more.items() if name != "rate_per_s"}}
    required = ("latency", "errors", "accuracy", "recovery")
    return Scenario("test", "why", duration_s, faults, bounds, required, more.get("rate_per_s"), "test.yaml")


def planned(
    asked: Scenario,
    seed: int = 1,
    *,
    queries: int = 200,
    able: bool = True,
    readable: bool = True,
    target: object = CLEAN,
) -> Plan:
    return schedule(
        asked,
        target,  # type: ignore[arg-type]
        seed,
        capabilities={"root": able, "drill": able, "sock_diag": able and readable},
        documents=1000,
        queries=queries,
        corpus="test",
    )


specs = st.builds(
    lambda kind, hold_s: FaultSpec(kind, "mcp", Stall() if kind == "stall" else Drill(), hold_s),
    st.sampled_from(["stall", "drill"]),
    st.none() | st.floats(1, 120),
)
fault_lists = st.lists(specs, max_size=12).map(tuple)


@settings(max_examples=150)
@given(fault_lists, st.floats(0, 20_000), st.integers(), st.booleans())
def test_any_campaign_that_is_long_enough_has_steps_that_add_up(
    faults: tuple[FaultSpec, ...], more_s: float, seed: int, able: bool
) -> None:
    injected = [spec for spec in faults if able or spec.kind == "stall"]
    duration_s = duration_min_s(injected) + more_s
    plan = planned(scenario(faults, duration_s), seed, able=able)
    assert sum(step.duration_s for step in plan.steps) == pytest.approx(duration_s, abs=0.1)
    assert [step.kind for step in plan.steps] == [WARM_UP, STEADY, *[FAULT, STEADY] * len(injected)]
    assert min(step.duration_s for step in plan.steps) > 5.9
    assert Counter(fault.kind for fault in plan.faults()) == Counter(spec.kind for spec in injected)
    assert [fault.id for fault in plan.faults()] == [
        f"f{n}-{fault.kind}" for n, fault in enumerate(plan.faults(), 1)
    ]
    assert sorted(f.hold_s for f in plan.faults() if f.hold_s < 10) == sorted(
        round(s.hold_s, 3) for s in injected if s.hold_s is not None and round(s.hold_s, 3) < 10
    )
    assert describe(plan)


@settings(max_examples=60)
@given(fault_lists, st.floats(0.01, 0.99))
def test_one_that_is_too_short_is_told_the_least_that_works(
    faults: tuple[FaultSpec, ...], share: float
) -> None:
    with pytest.raises(ScenarioError, match="too short") as caught:
        planned(scenario(faults, duration_min_s(faults) * share))
    least = float(caught.value.try_.rsplit(" ", 1)[1].removesuffix("s"))
    assert planned(scenario(faults, least)).steps


@pytest.mark.parametrize("duration_s", [math.inf, math.nan, 1e300, 8 * 86_400])
def test_no_run_is_endless(duration_s: float) -> None:
    with pytest.raises(ScenarioError, match="7 days"):
        planned(scenario((), duration_s))


@settings(max_examples=100, deadline=None)
@given(
    fault_lists,
    st.floats(0, 2000),
    st.floats(0.05, 50),
    st.floats(0.0005, 0.2),
    st.sampled_from([20, 45, 200]),
    st.floats(0.5, 100),
)
def test_the_duration_that_would_do_does(
    faults: tuple[FaultSpec, ...],
    more_s: float,
    rate_per_s: float,
    error_rate: float,
    queries: int,
    capacity_per_s: float,
) -> None:
    target = replace(CLEAN, capacity_per_s=capacity_per_s)
    duration_s = duration_min_s(faults) + more_s
    asked = scenario(faults, duration_s, rate_per_s=rate_per_s, error_rate=error_rate)
    for decision in planned(asked, queries=queries, target=target).decisions:
        assert not (decision.decidable and decision.needs_s)
        if decision.needs_s is None:
            continue
        assert decision.needs_s > duration_s
        longer = planned(replace(asked, duration_s=decision.needs_s), queries=queries, target=target)
        then = longer.decision(decision.check, decision.subject)
        assert then is not None
        assert then.decidable, (decision, then)


def test_what_no_duration_can_decide_is_not_promised() -> None:
    few = planned(scenario((), 600), queries=30).decision("accuracy", "steady")
    assert few is not None
    assert (few.decidable, few.needs_s) == (False, None)
    assert "30 queries" in few.reason


@pytest.mark.parametrize(
    ("steady_s", "latency", "errors"), [(35.4, False, False), (35.6, True, False), (101.1, True, True)]
)
def test_the_floors_are_those_of_the_statistics(steady_s: float, latency: bool, errors: bool) -> None:
    """142 requests for P95, 404 for 1 % of errors, at 4 requests/s."""
    for duration in range(20, 200):
        plan = planned(scenario((), duration, rate_per_s=4))
        seconds = sum(step.duration_s for step in plan.steps if step.kind == STEADY)
        if seconds >= steady_s:
            break
    rate = 4 * steady_s / seconds
    plan = planned(scenario((), duration, rate_per_s=rate))
    found = [plan.decision(check, "steady") for check in ("latency", "errors")]
    assert [decision.decidable for decision in found if decision] == [latency, errors]


def test_requests_that_a_known_issue_takes_away_are_not_counted_twice() -> None:
    """A tenth of the mix always fails by a declared defect: the gate has that much less to judge."""
    asked = scenario((), 600)
    counts = []
    for target in (CLEAN, TARGET):
        decision = planned(asked, target=target).decision("errors", "steady")
        assert decision is not None
        counts.append(int(decision.reason.split()[1]))
    assert counts[1] == pytest.approx(0.9 * counts[0], abs=1)


def test_recovery_is_watched_until_a_fail_is_certain() -> None:
    plan = planned(scenario((FaultSpec("stall", "mcp", Stall()),), 600, recovery_s=90.0))
    (fault,) = plan.faults()
    assert fault.recovery_max_s > 90 + CANARY.hold_ms / 1000
    decision = plan.decision("recovery", "f1-stall")
    assert decision is not None
    assert decision.decidable


def test_a_lack_is_said_once_for_each_kind() -> None:
    drills = (FaultSpec("drill", "qdrant", Drill()), FaultSpec("drill", "mcp", Drill()))
    plan = planned(scenario(drills, 600), able=False)
    assert plan.faults() == ()
    said = [(d.check, d.subject) for d in plan.decisions if not d.decidable]
    lacks = [(check, "drill") for check in ("in_force", "recovery", "accuracy")]
    assert said == [*lacks, ("traffic", "steady")], "a machine without root cannot read connections either"
    text = "\n".join(describe(plan))
    assert "INCONCLUSIVE at best: recovery is required" in text
    assert "INCONCLUSIVE at best: accuracy" not in text


@pytest.mark.parametrize(
    ("able", "why"),
    [(True, "this machine lacks 'sock_diag' (see `lab doctor`)"), (False, "only root reads them")],
)
def test_a_machine_that_cannot_read_connections_is_not_asked_to(able: bool, why: str) -> None:
    asked = scenario((FaultSpec("stall", "mcp", Stall()),), 600)
    assert planned(asked).reads_traffic and planned(asked).decision("traffic", "steady") is None
    plan = planned(asked, able=able, readable=False)
    assert not plan.reads_traffic and "traffic" in plan.required
    decision = plan.decision("traffic", "steady")
    assert decision is not None and not decision.decidable and why in decision.reason
    assert "INCONCLUSIVE at best: traffic is required" in "\n".join(describe(plan))


def test_parameters_reach_the_plan_without_the_service_s_name() -> None:
    plan = planned(scenario((FaultSpec("stall", "mcp", Stall("mcp", 7), 12.0),), 600))
    (fault,) = plan.faults()
    assert (fault.target, dict(fault.params), fault.hold_s) == ("mcp", {"depth": 7}, 12)


def test_an_issue_that_holds_under_a_fault_alone_takes_nothing_from_steady_phases() -> None:
    issues = tuple(replace(issue, faults=("kill",)) for issue in TARGET.known_issues)
    asked = scenario((), 600)
    narrow = planned(asked, target=replace(TARGET, known_issues=issues))
    assert narrow.decision("errors", "steady") == planned(asked).decision("errors", "steady")


def test_every_seed_gives_an_order_of_its_own_and_zero_is_one_of_them() -> None:
    faults = tuple(FaultSpec("stall", "mcp", Stall("mcp", depth), 1.0) for depth in range(12))
    orders = [
        tuple(fault.params["depth"] for fault in planned(scenario(faults, 3600), seed).faults())
        for seed in range(-10, 11)
    ]
    assert len(set(orders)) == len(orders)
    assert all(sorted(order) == list(range(12)) for order in orders)


def test_each_fault_comes_as_often_as_there_are_trials_and_no_kind_in_a_row() -> None:
    faults = tuple(FaultSpec("stall", "mcp", Stall("mcp", depth), 1.0) for depth in range(3))
    plan = planned(replace(scenario(faults, 1200), trials=5))
    depths = [fault.params["depth"] for fault in plan.faults()]
    assert Counter(depths) == {0: 5, 1: 5, 2: 5}
    assert all(set(depths[turn : turn + 3]) == {0, 1, 2} for turn in range(0, 15, 3))
    assert len({fault.id for fault in plan.faults()}) == 15


def test_companions_share_the_step_the_hold_and_a_lease_that_outlasts_it() -> None:
    companion = FaultSpec("drill", "qdrant", Drill())
    plan = planned(scenario((FaultSpec("stall", "mcp", Stall(), 12.0, (companion,)),), 300))
    (step,) = [step for step in plan.steps if step.kind == FAULT]
    assert [fault.id for fault in step.faults] == ["f1-stall", "f1b-drill"]
    assert all(fault.hold_s == 12.0 and fault.lease_s > 100 for fault in step.faults)
    assert "with drill on qdrant" in "\n".join(describe(plan))


def test_a_companion_that_the_machine_cannot_do_leaves_the_whole_step_out() -> None:
    companion = FaultSpec("drill", "qdrant", Drill())
    plan = planned(scenario((FaultSpec("stall", "mcp", Stall(), 12.0, (companion,)),), 300), able=False)
    assert not plan.faults()
    undecided = {(d.check, d.subject) for d in plan.decisions if not d.decidable}
    assert {("in_force", "stall"), ("in_force", "drill")} <= undecided
