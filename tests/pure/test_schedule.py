"""The planner: same seed same plan, durations that add up, and honest words about what can be decided."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from lab.errors import ScenarioError
from lab.faults import discover
from lab.model.plan import FAULT, STEADY, Plan
from lab.plan import describe, duration_min_s, schedule
from lab.read.campaigns import load_campaign
from lab.read.targets import load_target

HOME = Path(__file__).resolve().parents[2]
SOAK = load_campaign(HOME / "chaos" / "soak.yaml")
TARGET = load_target(HOME / "compose" / "targets" / "workspace-qdrant-mcp")
ABLE = {need: True for fault in discover().values() for need in fault.needs}

LEAST_S = duration_min_s(SOAK.faults)


def plan(seed: int = 1, duration_s: float = SOAK.duration_s, able: dict[str, bool] | None = None) -> Plan:
    return schedule(
        replace(SOAK, duration_s=duration_s),
        TARGET,
        seed,
        capabilities=ABLE if able is None else able,
        documents=1000,
        queries=200,
        corpus="test",
    )


@settings(max_examples=50)
@given(st.integers(-(2**63), 2**63))
def test_the_same_seed_gives_the_same_plan(seed: int) -> None:
    assert plan(seed) == plan(seed)
    assert plan(seed).seed == seed


def test_seeds_change_the_order_of_faults_and_zero_is_one_of_them() -> None:
    orders = {tuple(fault.kind for fault in plan(seed).faults()) for seed in range(20)}
    assert len(orders) == 20
    assert plan(0).seed == 0


@settings(max_examples=50)
@given(st.floats(LEAST_S, 86_400))
def test_steps_add_up_to_the_duration(duration_s: float) -> None:
    steps = plan(duration_s=duration_s).steps
    assert sum(step.duration_s for step in steps) == pytest.approx(duration_s, abs=0.1)
    assert all(step.duration_s > 0 for step in steps)
    assert [step.kind for step in steps[1:]] == [STEADY, *[FAULT, STEADY] * len(SOAK.faults)]


def test_too_short_a_duration_says_what_would_do() -> None:
    with pytest.raises(ScenarioError, match="too short") as caught:
        plan(duration_s=60)
    least = float(caught.value.try_.rsplit(" ", 1)[1].removesuffix("s"))
    assert plan(duration_s=least).steps


def test_the_default_duration_decides_everything_that_is_required_and_the_shortest_does_not() -> None:
    assert all(one.decidable for one in plan().decisions if one.check in SOAK.required)
    undecidable = [decision for decision in plan(duration_s=LEAST_S).decisions if not decision.decidable]
    assert {(decision.check, decision.subject) for decision in undecidable} >= {("errors", "steady")}
    for decision in undecidable:
        if decision.needs_s is not None:
            later = plan(duration_s=decision.needs_s).decision(decision.check, decision.subject)
            assert later is not None and later.decidable


def test_a_missing_capability_leaves_the_fault_out_and_says_so() -> None:
    without = plan(able={})
    assert [fault.kind for fault in without.faults()].count("cpu_cap") == 0
    said = [decision for decision in without.decisions if decision.subject == "cpu_cap"]
    assert {decision.check for decision in said} == {"in_force", "recovery", "accuracy"}
    assert all(not decision.decidable and "cgroup_cpu" in decision.reason for decision in said)


def test_a_plan_survives_json() -> None:
    adapter = TypeAdapter(Plan)
    assert adapter.validate_json(adapter.dump_json(plan())) == plan()


def test_the_dry_run_names_every_step_and_decision() -> None:
    text = "\n".join(describe(plan()))
    for step in plan().steps:
        assert step.name in text
    for decision in plan().decisions:
        assert decision.check in text
