"""What a plan can decide, before it runs: how many observations each judgement needs, and how many there will be."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from lab.judge.checks.errors import ERROR_RATE_MAX
from lab.judge.checks.recovery import RECOVERY_MAX
from lab.judge.stats.trials import TRIALS_MIN, trials_of
from lab.judge.witnesses.streams import observations_per_s
from lab.model.load import LoadProfile
from lab.model.plan import BY_TRUTH, STEADY, Decision, Plan, PlannedFault, Step
from lab.model.scenario import FaultSpec
from lab.plan.overload import unfit_here
from lab.plan.steps import settle_s
from lab.read.campaigns import DURATION_MAX_S

# P95 is below the limit if less than 5 % of the requests are late. 142 requests prove this (one-sided, 97.5 %) with up
# to two late requests among them. Where 1 % of all requests are late, 8 of 10 runs have no more than two.
LATENCY_REQUESTS = 142
# An error rate below a bound needs log(0.025) / log(1 - bound) requests without a failure; a tenth more for batches.
ERRORS_ALPHA, ERRORS_SPARE = 0.025, 1.1
# A recall above 0.9 needs 36 answers if all are right; a quarter more for queries that are not answered.
RECALL_ANSWERS = 45
GRID_S = 10


@dataclass(frozen=True, slots=True)
class _Question:
    """One judgement that needs a number of observations; `expected` computes how many a plan will give."""

    check: str
    subject: str
    needed: int
    expected: Callable[[Plan], float]
    unit: str


def decisions_of(plan: Plan, lasting: Callable[[float], Plan]) -> list[Decision]:
    """What a plan can decide; `lasting` gives the same plan with another duration, to find one that is long enough."""
    decisions = [_decision(plan, question, lasting) for question in _questions(plan)]
    for step in plan.steps:
        for fault in step.faults:
            decisions += [
                Decision("in_force", fault.id, True, "measured before, while and after it is in force"),
                _recovery(plan, step, fault),
            ]
    return unfit_here(plan, [*decisions, *_tolerance(plan)])


def _recovery(plan: Plan, step: Step, fault: PlannedFault) -> Decision:
    """Whether a recovery is watched for long enough, and by enough observations also where it comes at the bound."""
    bound_s, needed = RECOVERY_MAX.value_of(plan.bounds), plan.recovery_rule.window
    queries_hz = plan.observer.recall_hz if BY_TRUTH in plan.observer.witnesses else 0.0
    per_s = observations_per_s(plan, step.load) + queries_hz
    left_s = fault.recovery_max_s - bound_s
    if per_s * left_s < needed:
        reason = f"about {per_s * left_s:.0f} observations are planned after the bound, {needed} are needed"
        return Decision("recovery", fault.id, False, reason)
    reason = f"watched for up to {fault.recovery_max_s:g} s after the heal; it must hold for {plan.stays_well_s:g} s"
    return Decision("recovery", fault.id, left_s >= plan.stays_well_s, reason)


def _tolerance(plan: Plan) -> list[Decision]:
    """Whether the recovery from each fault can be bounded, which needs several trials of the fault."""
    trials = {subject: len(faults) for subject, faults in trials_of(plan).items()}
    few = sorted(subject for subject, n in trials.items() if n < TRIALS_MIN)
    reason = f"{TRIALS_MIN} trials of a fault or more bound its recovery, such as --trials 5"
    enough = [
        Decision("recovery_bound", subject, True, f"{n} trials")
        for subject, n in trials.items()
        if n >= TRIALS_MIN
    ]
    return (
        [*enough, Decision("recovery_bound", "too few trials", False, f"{reason}: {', '.join(few)}")]
        if few
        else enough
    )


def untested(unable: Iterable[tuple[FaultSpec, str]]) -> list[Decision]:
    """What cannot be decided because the machine lacks a capability that a fault needs."""
    missing = {fault.kind: capability for spec, capability in unable for fault in spec.together}
    return [
        Decision(check, kind, False, f"this machine lacks {capability!r} (see `lab doctor`)")
        for kind, capability in missing.items()
        for check in ("in_force", "recovery", "accuracy")
    ]


def steady_s(plan: Plan) -> float:
    """The sum of the durations of all steady steps."""
    return sum(step.duration_s for step in plan.steps if step.kind == STEADY)


def _questions(plan: Plan) -> list[_Question]:
    errors = math.ceil(
        math.log(ERRORS_ALPHA) / math.log1p(-ERROR_RATE_MAX.value_of(plan.bounds)) * ERRORS_SPARE
    )
    steady = [
        _Question("latency", "steady", LATENCY_REQUESTS, partial(_requests, check="latency"), "requests"),
        _Question("errors", "steady", errors, partial(_requests, check="errors"), "requests"),
        _Question("accuracy", "steady", RECALL_ANSWERS, lambda p: _queries(p, steady_s(p)), "queries"),
    ]
    kinds = sorted({fault.kind for fault in plan.faults()})
    return steady + [
        _Question("accuracy", kind, RECALL_ANSWERS, partial(_queries_around, kind=kind), "queries")
        for kind in kinds
    ]


def _requests(plan: Plan, check: str) -> float:
    """Requests in the steady phases that the gate will count, without those that known issues explain."""
    issues = plan.target.known_issues
    explained = {issue.operation for issue in issues if issue.check == check and not issue.faults}
    counts = [
        load.schedule.expected(from_ms, to_ms) * _share(load, explained)
        for load, from_ms, to_ms in _steady_loads(plan)
    ]
    # Rounded, so that the same requests in differently divided steps give the same count.
    return round(math.fsum(counts), 6)


def _share(load: LoadProfile, explained: Collection[str]) -> float:
    """The share of the requests whose operation no known issue explains."""
    return sum(percent for name, percent in load.mix.items() if name not in explained) / sum(
        load.mix.values()
    )


def _steady_loads(plan: Plan) -> Iterator[tuple[LoadProfile, float, float]]:
    """The load of each steady step, with the step's begin and end in ms since the load's beginning."""
    at_ms, running = 0.0, None
    for step in plan.steps:
        from_ms = at_ms if step.load == running else 0.0
        at_ms, running = from_ms + 1000 * step.duration_s, step.load
        if step.kind == STEADY and step.load is not None:
            yield step.load, from_ms, at_ms


def _queries_around(plan: Plan, kind: str) -> float:
    settling_s = settle_s(plan.stays_well_s)
    return _queries(plan, sum(fault.hold_s + settling_s for fault in plan.faults() if fault.kind == kind))


def _queries(plan: Plan, seconds: float) -> float:
    """Different queries asked in a time; to ask the same query again gives no new evidence.

    The lab asks them in turn, and so does the load; neither knows which ones the other has asked.
    """
    if not plan.queries:
        return 0.0
    asked = min(1.0, plan.observer.recall_hz * seconds / plan.queries)
    by_load = min(1.0, _truth_per_s(plan) * seconds / plan.queries)
    return round(plan.queries * (asked + by_load - asked * by_load), 6)


def _truth_per_s(plan: Plan) -> float:
    """How many truth queries a second the load itself asks, in the step with the fewest; 0 where nobody counts them."""
    if BY_TRUTH not in plan.observer.witnesses:
        return 0.0
    operations = plan.target.operations
    shares = [
        (load, sum(percent for name, percent in load.mix.items() if operations[name].document_ids))
        for load in plan.loads()
    ]
    rates = [
        load.schedule.expected(0.0, 1e6) / 1e3 * percent / sum(load.mix.values()) for load, percent in shares
    ]
    return 0.0 if any(step.load is None for step in plan.steps) else min(rates, default=0.0)


def _decision(plan: Plan, question: _Question, lasting: Callable[[float], Plan]) -> Decision:
    expected = question.expected(plan)
    enough = expected >= question.needed
    reason = f"about {math.floor(expected)} {question.unit} are planned, {question.needed} are needed"
    needs_s = None if enough else _sufficient_duration_s(plan, question, lasting)
    return Decision(question.check, question.subject, enough, reason, needs_s)


def _sufficient_duration_s(plan: Plan, question: _Question, lasting: Callable[[float], Plan]) -> float | None:
    """The shortest sufficient duration that is a multiple of 10 s; None where 7 days are not enough.

    Found by doubling, then by bisection.
    """

    def suffices(tens: int) -> bool:
        return question.expected(lasting(float(tens * GRID_S))) >= question.needed

    too_short = math.floor(plan.duration_s / GRID_S)
    tens_max = math.floor(DURATION_MAX_S / GRID_S)
    long_enough = min(tens_max, 2 * too_short + 1)
    while not suffices(long_enough):
        if long_enough == tens_max:
            return None
        too_short, long_enough = long_enough, min(tens_max, 2 * long_enough)
    while long_enough - too_short > 1:
        middle = (too_short + long_enough) // 2
        too_short, long_enough = (too_short, middle) if suffices(middle) else (middle, long_enough)
    return float(long_enough * GRID_S)
