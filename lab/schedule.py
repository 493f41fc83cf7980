"""A scenario and a seed make a plan; all randomness is spent here, and what the plan can decide is said here.

Sample sizes come from the methods in docs/judging.md: how many observations a bound takes when all goes well.
"""

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from itertools import chain

from lab.errors import ScenarioError
from lab.judge.recovered import CANARY
from lab.model.plan import (
    FAULT,
    STEADY,
    WARM_UP,
    Decision,
    LoadPlan,
    ObserverPlan,
    Plan,
    PlannedFault,
    Step,
)
from lab.model.quantities import format_duration
from lab.model.scenario import FaultSpec, Scenario
from lab.model.target import Target

# A fault step takes its hold, the proofs around it, and the hold after recovery that makes a relapse visible.
PROOFS_S = 5.0
SETTLE_S = CANARY.hold_ms / 1000 + 2.0
HOLD_MIN_S, HOLD_MAX_S = 6.0, 40.0
STEADY_MIN_S = 6.0
WARM_UP_SHARE, WARM_UP_MIN_S, WARM_UP_MAX_S = 0.075, 10.0, 60.0
# What the baseline takes of the steady time; the rest is spread evenly over the clean windows after the faults.
BASELINE_SHARE = 0.4
# Answers that decide a bound when none is bad, two-sided 95 %: log(0.025) / log(good), with a tenth to spare for
# batches. 5 % late: 72; 1 % failed: 367; recall above 0.9: 36 (times 1.25 for what goes unanswered in a fault).
# And a tenth more for requests that known issues leave out.
SPARE = 1.25
RECALL_ANSWERS = 45
CHUNK_S = 60.0


def schedule(
    scenario: Scenario,
    target: Target,
    seed: int,
    *,
    capabilities: Mapping[str, bool],
    documents: int,
    queries: int,
    corpus: str,
) -> Plan:
    """The plan of a scenario: the same for the same seed. Raises ScenarioError where the duration is too short."""
    able, unable = _by_capability(scenario.faults, capabilities)
    order = list(able)
    random.Random(f"{seed}:fault order").shuffle(order)
    observer = ObserverPlan(
        canary_slow_hz=2,
        canary_fast_hz=10,
        canary_deadline_ms=2000,
        canary_slo_ms=scenario.bounds.latency_p95_ms,
        outstanding_max=5,
        recall_hz=1.5,
        recall_k=10,
        memory_every_s=5,
    )
    steps = tuple(_steps(scenario, order))
    load = LoadPlan(
        rate_per_s=scenario.rate_per_s or target.normal_rate_per_s,
        chunk_s=CHUNK_S,
        mix=dict(target.mix),
        request_timeout_ms=target.request_timeout_ms,
    )
    plan = Plan(
        campaign=scenario.name,
        why=scenario.why,
        seed=seed,
        duration_s=scenario.duration_s,
        steps=steps,
        load=load,
        observer=observer,
        bounds=scenario.bounds,
        required=scenario.required,
        decisions=(),
        target=target,
        documents=documents,
        queries=queries,
        corpus=corpus,
    )
    return replace(plan, decisions=(*_decisions(plan, scenario, order), *_missing(unable)))


def _by_capability(
    faults: tuple[FaultSpec, ...], capabilities: Mapping[str, bool]
) -> tuple[list[FaultSpec], list[tuple[FaultSpec, str]]]:
    able: list[FaultSpec] = []
    unable: list[tuple[FaultSpec, str]] = []
    for spec in faults:
        lacking = next((need for need in type(spec.params).needs if not capabilities.get(need, False)), None)
        if lacking is None:
            able.append(spec)
        else:
            unable.append((spec, lacking))
    return able, unable


def duration_min_s(scenario: Scenario, faults: int) -> float:
    """The shortest duration that holds every step at its minimum."""
    holds = sum(spec.hold_s or HOLD_MIN_S for spec in scenario.faults[:faults])
    return WARM_UP_MIN_S + (faults + 1) * STEADY_MIN_S + faults * (PROOFS_S + SETTLE_S) + holds


def _steps(scenario: Scenario, order: list[FaultSpec]) -> list[Step]:
    least = duration_min_s(scenario, len(order))
    if scenario.duration_s < least:
        raise ScenarioError(
            f"{format_duration(scenario.duration_s)} is too short for {len(order)} faults",
            where=scenario.source or scenario.name,
            try_=f"at least {format_duration(math.ceil(least))}, such as --duration {math.ceil(least)}s",
        )
    warm_up_s = min(WARM_UP_MAX_S, max(WARM_UP_MIN_S, WARM_UP_SHARE * scenario.duration_s))
    warm_up_s = min(warm_up_s, WARM_UP_MIN_S + scenario.duration_s - least)
    hold_s = min(HOLD_MAX_S, max(HOLD_MIN_S, scenario.duration_s / 15))
    planned = [_fault(number, spec, scenario, hold_s) for number, spec in enumerate(order, 1)]
    spent_s = sum(fault.hold_s + PROOFS_S + SETTLE_S for fault in planned)
    steady_s = scenario.duration_s - warm_up_s - spent_s
    if steady_s < STEADY_MIN_S * (len(planned) + 1):
        # The default hold is what can give way; one that the campaign asks for is kept.
        planned = [_fault(number, spec, scenario, HOLD_MIN_S) for number, spec in enumerate(order, 1)]
        spent_s = sum(fault.hold_s + PROOFS_S + SETTLE_S for fault in planned)
        warm_up_s = WARM_UP_MIN_S
        steady_s = scenario.duration_s - warm_up_s - spent_s
    return [Step("warm-up", WARM_UP, round(warm_up_s, 3)), *_measured_steps(planned, steady_s)]


def _measured_steps(planned: list[PlannedFault], steady_s: float) -> list[Step]:
    if not planned:
        return [Step("baseline", STEADY, round(steady_s, 3))]
    clean_s = max(STEADY_MIN_S, steady_s * (1 - BASELINE_SHARE) / len(planned))
    baseline = Step("baseline", STEADY, round(steady_s - clean_s * len(planned), 3))
    pairs = (
        (
            Step(fault.id, FAULT, round(fault.hold_s + PROOFS_S + SETTLE_S, 3), fault),
            Step(f"clean-{number}", STEADY, round(clean_s, 3)),
        )
        for number, fault in enumerate(planned, 1)
    )
    return [baseline, *chain.from_iterable(pairs)]


def _fault(number: int, spec: FaultSpec, scenario: Scenario, hold_s: float) -> PlannedFault:
    params = {name: value for name, value in asdict(spec.params).items() if name != "target"}
    return PlannedFault(
        id=f"f{number}-{spec.kind}",
        kind=spec.kind,
        target=spec.target,
        params=params,
        hold_s=round(spec.hold_s or hold_s, 3),
        # Long enough to see a FAIL: the bound, then the hold of a recovery that came just too late.
        recovery_max_s=scenario.bounds.recovery_s + CANARY.hold_ms / 1000 + 8,
    )


def _steady_s(steps: Iterable[Step]) -> float:
    """How long all steady steps last together."""
    return sum(step.duration_s for step in steps if step.kind == STEADY)


def _needed(good: float) -> int:
    return math.ceil(math.log(0.025) / math.log(good) * SPARE)


def _decisions(plan: Plan, scenario: Scenario, order: list[FaultSpec]) -> list[Decision]:
    rate, recall_hz = plan.load.rate_per_s, plan.observer.recall_hz
    steady = [
        ("latency", rate, _needed(0.95)),
        ("errors", rate, _needed(1 - plan.bounds.error_rate)),
        ("accuracy", recall_hz, RECALL_ANSWERS),
    ]
    decisions = [_steady_decision(check, per_s, n, plan, scenario, order) for check, per_s, n in steady]
    for kind in sorted({fault.kind for fault in plan.faults()}):
        asked = sum(f.hold_s + SETTLE_S for f in plan.faults() if f.kind == kind) * recall_hz
        decisions.append(
            Decision("accuracy", kind, asked >= RECALL_ANSWERS, _expected(asked, RECALL_ANSWERS))
        )
    for fault in plan.faults():
        decisions += [
            Decision(check, fault.id, True, "watched long enough") for check in ("in_force", "recovery")
        ]
    return decisions


def _steady_decision(
    check: str, per_s: float, needed: int, plan: Plan, scenario: Scenario, order: list[FaultSpec]
) -> Decision:
    expected = per_s * _steady_s(plan.steps)
    if expected >= needed:
        return Decision(check, "steady", True, _expected(expected, needed))
    needs_s = scenario.duration_s
    while per_s * _steady_s(_steps(replace(scenario, duration_s=needs_s), order)) < needed:
        needs_s = 10.0 * (needs_s // 10 + 1)
    return Decision(check, "steady", False, _expected(expected, needed), needs_s)


def _expected(planned: float, needed: int) -> str:
    return f"about {planned:.0f} observations are planned, {needed} are needed"


def _missing(unable: list[tuple[FaultSpec, str]]) -> list[Decision]:
    return [
        Decision(check, spec.kind, False, f"this machine lacks {lacking!r} (see `lab doctor`)")
        for spec, lacking in unable
        for check in ("in_force", "recovery", "accuracy")
    ]


def describe(plan: Plan) -> list[str]:
    """The plan in words: what happens when, and what it can decide."""
    lines = [f"{plan.campaign}: {plan.why}", f"seed {plan.seed}, {format_duration(plan.duration_s)}", ""]
    at_s = 0.0
    for step in plan.steps:
        what = ""
        if step.fault is not None:
            params = ", ".join(f"{name} {value}" for name, value in step.fault.params.items())
            what = f"on {step.fault.target}, in force for {format_duration(step.fault.hold_s)}"
            what += f" ({params})" if params else ""
        lines.append(
            f"{at_s:7.0f} s  {step.name:16} {format_duration(round(step.duration_s)):>12}  {what}".rstrip()
        )
        at_s += step.duration_s
    lines += ["", "what this duration can decide:"]
    for decision in plan.decisions:
        mark = "yes" if decision.decidable else "NO "
        more = f"; --duration {decision.needs_s:.0f}s would do" if decision.needs_s else ""
        lines.append(f"  {mark} {decision.check:10} {decision.subject:12} {decision.reason}{more}")
    return lines
