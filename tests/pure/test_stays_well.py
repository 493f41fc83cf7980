"""How long a recovery must hold is part of the plan: the run waits for it, and the judge and the report say it."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from lab.cli.fault import by_hand
from lab.errors import ScenarioError
from lab.judge.checks import recovery
from lab.judge.windows.timeline import find_windows
from lab.model.evidence import Evidence
from lab.model.plan import BY_CANARY, BY_LOAD, BY_TRUTH, FAULT, Plan
from lab.model.recovery import STAYS_WELL_S
from lab.model.samples import Layer
from lab.model.verdict import Finding, Verdict
from lab.plan import schedule
from lab.plan.decisions import decisions_of
from lab.plan.steps import BRIEF_BASELINE_S, BRIEF_WARM_UP_S
from lab.read.targets import load_target
from lab.repository import TARGETS
from tests.pure import evidence_factory as factory

TARGET = load_target(TARGETS / "workspace-qdrant-mcp")
ALL = (BY_CANARY, BY_LOAD, BY_TRUTH)
FAULT_ID = "f1-latency"
# What `lab fault run freeze --hold 5s` takes beside its planned steps, on an idle machine and at most in seconds:
# prepare the stack, measure the capacity, wait for the last answers to arrive, end load and samplers, judge.
BESIDE_S = 6.0 + 4.0 + 1.0 + 2.0
BUDGET_S = 40.0


def run_by_hand(*, holds: str = "5s", stays_well: str = "8s", rate_per_s: float | None = None) -> Plan:
    asked = replace(by_hand("freeze", ["target=qdrant"], holds, stays_well), rate_per_s=rate_per_s)
    able = {"root": True, "freezer": True}
    return schedule(asked, TARGET, 1, capabilities=able, documents=1000, queries=200, corpus="test")


def with_hold(evidence: Evidence, stays_well_s: float) -> Evidence:
    return replace(evidence, plan=replace(evidence.plan, stays_well_s=stays_well_s))


def found(evidence: Evidence) -> Finding:
    (finding,) = recovery.findings(evidence, find_windows(evidence))
    return finding


def relapsing(after_s: float, *, witnesses: tuple[str, ...] = ALL) -> Evidence:
    """A target that is well at once, and two seconds of whose requests fail this long after the heal."""
    evidence = factory.make(factory.Recipe(faults=("latency",), baseline_s=60.0, witnesses=witnesses))
    (fault,) = find_windows(evidence).faults
    assert fault.cleared_ms is not None
    from_ms = fault.cleared_ms + 1000 * after_s

    def failing(row: Any) -> Any:
        inside = from_ms <= row.scheduled_ms < from_ms + 2000
        return replace(row, ok=False, layer=Layer.IS_ERROR, message="away", hits=None) if inside else row

    return factory.resampled(evidence, requests=[failing(row) for row in evidence.samples.requests])


# ---- the plan


def test_a_fault_by_hand_fits_its_budget_and_a_campaign_takes_its_time() -> None:
    plan = run_by_hand()
    assert [step.name for step in plan.steps] == ["warm-up", "baseline", "f1-freeze"]
    assert [step.duration_s for step in plan.steps[:2]] == [BRIEF_WARM_UP_S, BRIEF_BASELINE_S]
    fault = plan.faults()[0]
    # The step's planned length has some seconds for proofs; at its end the run waits for the recovery alone.
    expected_s = BRIEF_WARM_UP_S + BRIEF_BASELINE_S + fault.hold_s + 2.0 + plan.stays_well_s
    assert expected_s + BESIDE_S <= BUDGET_S
    usual = replace(
        by_hand("freeze", ["target=qdrant"], "5s"), brief=False, stays_well_s=30.0, duration_s=120.0
    )
    longer = schedule(usual, TARGET, 1, capabilities={}, documents=1000, queries=200, corpus="test")
    assert [step.name for step in longer.steps][-1].startswith("clean-")
    assert longer.steps[0].duration_s >= 10.0
    assert sum(step.duration_s for step in longer.steps) + BESIDE_S > BUDGET_S


def test_more_time_for_a_fault_by_hand_lengthens_its_baseline() -> None:
    asked = by_hand("freeze", ["target=qdrant"], "5s")
    longer = replace(asked, duration_s=asked.duration_s + 12.0)
    plan = schedule(longer, TARGET, 1, capabilities={}, documents=1000, queries=200, corpus="test")
    assert [step.duration_s for step in plan.steps[:2]] == [BRIEF_WARM_UP_S, BRIEF_BASELINE_S + 12.0]


@pytest.mark.parametrize("stays_well_s", [8.0, 20.0])
def test_the_plan_says_how_long_a_recovery_must_hold_and_watches_for_longer(stays_well_s: float) -> None:
    plan = run_by_hand(stays_well=f"{stays_well_s:g}s")
    assert plan.stays_well_s == stays_well_s
    assert plan.recovery_rule.hold_ms == 1000 * stays_well_s
    (fault,) = plan.faults()
    assert fault.recovery_max_s > 30 + stays_well_s
    (step,) = [step for step in plan.steps if step.kind == FAULT]
    assert step.duration_s >= fault.hold_s + stays_well_s
    decision = plan.decision("recovery", fault.id)
    assert decision is not None and decision.decidable
    assert f"must hold for {stays_well_s:g} s" in decision.reason


def test_a_load_that_gives_too_few_observations_cannot_decide_a_recovery() -> None:
    sparse = run_by_hand(rate_per_s=0.05)
    sparse_observer = replace(sparse.observer, canary_slow_hz=0.05, recall_hz=0.05)
    assert sparse_observer.witnesses == ALL
    plan = replace(sparse, observer=sparse_observer)
    (decision,) = [d for d in decisions_of(plan, lambda duration_s: plan) if d.check == "recovery"]
    assert not decision.decidable and "20 are needed" in decision.reason
    usual = run_by_hand().decision("recovery", "f1-freeze")
    assert usual is not None and usual.decidable


def test_a_plan_that_does_not_say_it_means_thirty_seconds() -> None:
    written = TypeAdapter(Plan).dump_python(run_by_hand(), mode="json")
    assert written["stays_well_s"] == 8.0
    del written["stays_well_s"]
    read = TypeAdapter(Plan).validate_python(written)
    assert read.stays_well_s == STAYS_WELL_S == 30.0


@pytest.mark.parametrize("text", ["soon", "0s", "8"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ScenarioError, match="not a duration"):
        by_hand("freeze", ["target=qdrant"], "5s", text)


# ---- the judge


def test_a_relapse_within_the_time_counts_and_one_after_it_does_not() -> None:
    evidence = relapsing(12.0)
    lenient, strict = found(with_hold(evidence, 8.0)), found(with_hold(evidence, 30.0))
    assert lenient.ci is not None and lenient.ci.hi < 3
    assert "stayed well for the 8 s" in lenient.reason
    assert strict.ci is not None and strict.ci.lo > 12
    assert found(with_hold(relapsing(4.0), 8.0)).ci.lo > 4  # type: ignore[union-attr]


def test_the_canary_alone_is_held_to_the_same_time() -> None:
    evidence = factory.make(factory.Recipe(faults=("latency",), baseline_s=60.0))
    assert "stayed well for the 8 s" in found(with_hold(evidence, 8.0)).reason
    assert "stayed well for the 30 s" in found(evidence).reason


def test_a_recovery_that_was_watched_for_less_than_it_must_hold_is_no_pass() -> None:
    """The step ends about 38 s after the heal."""
    evidence = factory.make(factory.Recipe(faults=("latency",), baseline_s=60.0, witnesses=ALL))
    assert found(with_hold(evidence, 30.0)).verdict is Verdict.PASS
    short = found(with_hold(evidence, 120.0))
    assert short.verdict is Verdict.INCONCLUSIVE
    assert "it must hold for 120 s, and was watched for" in short.reason
