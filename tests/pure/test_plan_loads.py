"""What the planner says of loads: every step has the campaign's, and promises follow the load of each step."""

from dataclasses import replace
from pathlib import Path

from lab.model.load import ConstantArrivalRate, LoadProfile
from lab.model.plan import STEADY, Decision, Plan
from lab.plan import describe, schedule
from lab.plan.decisions import decisions_of
from lab.read.campaigns import load_campaign
from lab.read.targets import load_target

HOME = Path(__file__).resolve().parents[2]
SOAK = load_campaign(HOME / "chaos" / "soak.yaml")
TARGET = replace(
    load_target(HOME / "compose" / "targets" / "workspace-qdrant-mcp"), known_issues=(), normal_rate_per_s=4.0
)


def plan(rate_per_s: float | None = None) -> Plan:
    return schedule(
        replace(SOAK, faults=(), duration_s=600, rate_per_s=rate_per_s),
        TARGET,
        1,
        capabilities={},
        documents=1000,
        queries=200,
        corpus="test",
    )


def with_steady_load(load: LoadProfile | None) -> Plan:
    steps = plan().steps
    return replace(plan(), steps=tuple(replace(s, load=load) if s.kind == STEADY else s for s in steps))


def latency(asked: Plan) -> Decision:
    return next(
        d for d in decisions_of(asked, lambda _: asked) if (d.check, d.subject) == ("latency", "steady")
    )


def requests(decision: Decision) -> int:
    return int(decision.reason.split()[1])


def test_every_step_carries_the_targets_usual_load() -> None:
    (load,) = plan().loads()
    assert all(step.load == load for step in plan().steps)
    assert (load.name, load.script, load.schedule) == ("normal", "normal.js", ConstantArrivalRate(4.0))
    assert (load.mix, load.request_timeout_ms) == (TARGET.mix, TARGET.request_timeout_ms)


def test_the_campaign_may_ask_for_another_rate() -> None:
    (load,) = plan(9.5).loads()
    assert load.schedule == ConstantArrivalRate(9.5)


def test_promises_follow_the_load_of_each_step() -> None:
    (load,) = plan().loads()
    faster = replace(load, name="stress", schedule=ConstantArrivalRate(40.0))
    assert requests(latency(with_steady_load(faster))) == 10 * requests(latency(plan()))


def test_nothing_is_promised_of_steps_without_load() -> None:
    decision = latency(with_steady_load(None))
    assert (requests(decision), decision.decidable) == (0, False)


def test_the_dry_run_names_the_loads_where_steps_differ() -> None:
    assert "load normal: 4 requests/s on" in describe(plan())[1]
    assert not any("no load" in line for line in describe(plan()))
    lines = describe(with_steady_load(None))
    assert any("baseline" in line and line.endswith("no load") for line in lines)
    assert any("warm-up" in line and line.endswith("load normal") for line in lines)


def test_a_plan_without_any_load_says_so() -> None:
    silent = replace(plan(), steps=tuple(replace(step, load=None) for step in plan().steps))
    assert silent.loads() == ()
    assert "no load on" in describe(silent)[1]
