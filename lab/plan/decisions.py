"""What a plan can decide, said before it runs: how many observations each judgement takes, and how many will come."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from lab.model.load import LoadProfile
from lab.model.plan import STEADY, Decision, Plan
from lab.model.recovery import CANARY
from lab.model.scenario import FaultSpec
from lab.model.trials import TRIALS_MIN, trials_of
from lab.plan.steps import SETTLE_S
from lab.read.campaigns import DURATION_MAX_S

# P95 is below the limit when less than 5 % are late. 142 requests show it (one-sided 97.5 %) with up to two late ones
# among them, which is what 8 of 10 runs have where 1 % are late.
LATENCY_REQUESTS = 142
# Failures: log(0.025) / log(1 - bound) requests without any, and a tenth to spare for batches.
ERRORS_ALPHA, ERRORS_SPARE = 0.025, 1.1
# Recall above 0.9: 36 answers when all are right, and a quarter to spare for what goes unanswered.
RECALL_ANSWERS = 45
GRID_S = 10


@dataclass(frozen=True, slots=True)
class _Question:
    """One judgement that takes a number of observations; `expected` says how many a plan will bring."""

    check: str
    subject: str
    needed: int
    expected: Callable[[Plan], float]
    what: str


def decisions_of(plan: Plan, lasting: Callable[[float], Plan]) -> list[Decision]:
    """What a plan can decide; `lasting` is the same plan with another duration, to find the one that would do."""
    decisions = [_decision(plan, question, lasting) for question in _questions(plan)]
    watch_s = plan.bounds.recovery_s + CANARY.hold_ms / 1000
    for fault in plan.faults():
        watched = f"watched for up to {fault.recovery_max_s:g} s after the heal"
        decisions += [
            Decision("in_force", fault.id, True, "measured before, while and after it is in force"),
            Decision("recovery", fault.id, fault.recovery_max_s >= watch_s, watched),
        ]
    return [*decisions, *_tolerance(plan)]


def _tolerance(plan: Plan) -> list[Decision]:
    """Whether the recoveries from each fault can be bounded, which takes several trials of it."""
    trials = {subject: len(faults) for subject, faults in trials_of(plan).items()}
    few = sorted(subject for subject, n in trials.items() if n < TRIALS_MIN)
    reason = f"{TRIALS_MIN} trials of a fault at least bound its recovery; --trials 5 does"
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
    """What cannot be decided because the machine lacks something that a fault needs."""
    lacks = {one.kind: lacking for spec, lacking in unable for one in spec.together}
    return [
        Decision(check, kind, False, f"this machine lacks {lacking!r} (see `lab doctor`)")
        for kind, lacking in lacks.items()
        for check in ("in_force", "recovery", "accuracy")
    ]


def steady_s(plan: Plan) -> float:
    """How long all steady steps last together."""
    return sum(step.duration_s for step in plan.steps if step.kind == STEADY)


def _questions(plan: Plan) -> list[_Question]:
    errors = math.ceil(math.log(ERRORS_ALPHA) / math.log1p(-plan.bounds.error_rate) * ERRORS_SPARE)
    steady = [
        _Question("latency", "steady", LATENCY_REQUESTS, partial(_requests, check="latency"), "requests"),
        _Question("errors", "steady", errors, partial(_requests, check="errors"), "requests"),
        _Question("accuracy", "steady", RECALL_ANSWERS, lambda p: _queries(p, steady_s(p)), "queries"),
    ]
    kinds = sorted({fault.kind for fault in plan.faults()})
    around = [partial(_asked_around, kind=kind) for kind in kinds]
    return steady + [
        _Question("accuracy", kind, RECALL_ANSWERS, asked, "queries")
        for kind, asked in zip(kinds, around, strict=True)
    ]


def _requests(plan: Plan, check: str) -> float:
    """Requests in the steady phases that the gate will count; known issues take theirs away."""
    issues = plan.target.known_issues
    excused = {issue.operation for issue in issues if issue.check == check and not issue.faults}
    counts = [
        load.schedule.expected(from_ms, to_ms) * _share(load, excused)
        for load, from_ms, to_ms in _steady_loads(plan)
    ]
    # Sums of the same parts must not differ by how a duration was cut.
    return round(math.fsum(counts), 6)


def _share(load: LoadProfile, excused: Collection[str]) -> float:
    """The share of the operations that no known issue takes away."""
    return sum(percent for name, percent in load.mix.items() if name not in excused) / sum(load.mix.values())


def _steady_loads(plan: Plan) -> Iterator[tuple[LoadProfile, float, float]]:
    """The load of each steady step, with the step's begin and end in ms since the load's beginning."""
    at_ms, running = 0.0, None
    for step in plan.steps:
        from_ms = at_ms if step.load == running else 0.0
        at_ms, running = from_ms + 1000 * step.duration_s, step.load
        if step.kind == STEADY and step.load is not None:
            yield step.load, from_ms, at_ms


def _asked_around(plan: Plan, kind: str) -> float:
    return _queries(plan, sum(fault.hold_s + SETTLE_S for fault in plan.faults() if fault.kind == kind))


def _queries(plan: Plan, seconds: float) -> float:
    """Different queries asked in a time; the same one again is no new evidence."""
    return min(plan.observer.recall_hz * seconds, plan.queries)


def _decision(plan: Plan, question: _Question, lasting: Callable[[float], Plan]) -> Decision:
    expected = question.expected(plan)
    enough = expected >= question.needed
    reason = f"about {math.floor(expected)} {question.what} are planned, {question.needed} are needed"
    needs_s = None if enough else _duration_that_does(plan, question, lasting)
    return Decision(question.check, question.subject, enough, reason, needs_s)


def _duration_that_does(plan: Plan, question: _Question, lasting: Callable[[float], Plan]) -> float | None:
    """The shortest duration on a grid of 10 s found to bring enough; None where none of up to 7 days does."""

    def does(tens: int) -> bool:
        return question.expected(lasting(float(tens * GRID_S))) >= question.needed

    too_short = math.floor(plan.duration_s / GRID_S)
    most = math.floor(DURATION_MAX_S / GRID_S)
    long_enough = min(most, 2 * too_short + 1)
    while not does(long_enough):
        if long_enough == most:
            return None
        too_short, long_enough = long_enough, min(most, 2 * long_enough)
    while long_enough - too_short > 1:
        middle = (too_short + long_enough) // 2
        too_short, long_enough = (too_short, middle) if does(middle) else (middle, long_enough)
    return float(long_enough * GRID_S)
