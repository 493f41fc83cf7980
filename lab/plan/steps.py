"""Divides a duration into steps: warm-up, baseline, then each fault followed by a clean window."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from string import ascii_lowercase

from lab.errors import ScenarioError
from lab.judge.checks.recovery import RECOVERY_MAX
from lab.model.lease import lease_s
from lab.model.load import LoadProfile
from lab.model.plan import FAULT, STEADY, WARM_UP, PlannedFault, Step
from lab.model.quantities import format_duration
from lab.model.recovery import CANARY
from lab.model.scenario import FaultSpec, Scenario
from lab.plan.conflicts import require_compatible, require_possible_hold
from lab.read.campaigns import DURATION_MAX_S

# A fault step lasts for its hold, the proofs around it, and the time after recovery in which a relapse would show.
PROOFS_S = 5.0
SETTLE_S = CANARY.hold_ms / 1000 + 2.0
# How much longer a recovery is watched, so that one just beyond the bound is certain: the proof of the heal takes time,
# and so do late answers.
LATE_S = 8.0
HOLD_MIN_S, HOLD_MAX_S, HOLD_SHARE = 10.0, 40.0, 1 / 15
WARM_UP_MIN_S, WARM_UP_MAX_S, WARM_UP_SHARE = 10.0, 60.0, 0.075
STEADY_MIN_S = 6.0
# The baseline's share of the steady time beyond the minimum. The clean windows after the faults share the rest.
BASELINE_SHARE = 0.4


def steps_of(
    scenario: Scenario, order: Sequence[FaultSpec], load: LoadProfile | None = None
) -> tuple[Step, ...]:
    """The steps of a scenario whose faults are injected in this order, all under the same load.

    Their durations add up to the scenario's duration. Raises ScenarioError where that is too short for the steps or too
    long for a run, and where a fault of the scenario cannot be in force with its companions or for its whole hold. The
    latter is checked for all faults, also for those that this machine cannot inject.
    """
    _require_possible(scenario)
    least_s = duration_min_s(order)
    if not least_s <= scenario.duration_s <= DURATION_MAX_S:
        raise _impossible(scenario, len(order), least_s)
    warm_up_more = _between(WARM_UP_MIN_S, WARM_UP_SHARE * scenario.duration_s, WARM_UP_MAX_S) - WARM_UP_MIN_S
    hold_more = _between(HOLD_MIN_S, HOLD_SHARE * scenario.duration_s, HOLD_MAX_S) - HOLD_MIN_S
    wanted_s = warm_up_more + hold_more * sum(spec.hold_s is None for spec in order)
    # At most half of the time beyond the minimum goes to warm-up and holds, so that enough steady time is left.
    share = min(1.0, (scenario.duration_s - least_s) / 2 / wanted_s) if wanted_s else 0.0
    warm_up_s = round(WARM_UP_MIN_S + share * warm_up_more, 3)
    hold_s = HOLD_MIN_S + share * hold_more
    planned = [_together(number, spec, scenario, hold_s) for number, spec in enumerate(order, 1)]
    steady_s = scenario.duration_s - warm_up_s - math.fsum(_step_s(faults) for faults in planned)
    steps = (Step("warm-up", WARM_UP, warm_up_s), *_measured(planned, steady_s))
    return tuple(replace(step, load=load) for step in steps)


def _require_possible(scenario: Scenario) -> None:
    where = scenario.source or scenario.name
    for spec in scenario.faults:
        require_compatible(spec, where)
        require_possible_hold(spec, HOLD_MAX_S if spec.hold_s is None else spec.hold_s, where)


def duration_min_s(order: Sequence[FaultSpec]) -> float:
    """The shortest duration that holds every step at its minimum."""
    faults_s = math.fsum(
        _fault_step_s(HOLD_MIN_S if spec.hold_s is None else spec.hold_s, len(spec.together))
        for spec in order
    )
    return WARM_UP_MIN_S + STEADY_MIN_S * (len(order) + 1) + faults_s


def _fault_step_s(hold_s: float, faults: int) -> float:
    return hold_s + PROOFS_S * faults + SETTLE_S


def _step_s(faults: Sequence[PlannedFault]) -> float:
    return _fault_step_s(max(fault.hold_s for fault in faults), len(faults))


def _between(low: float, value: float, high: float) -> float:
    return min(high, max(low, value))


def _impossible(scenario: Scenario, faults: int, least_s: float) -> ScenarioError:
    where = scenario.source or scenario.name
    if least_s > DURATION_MAX_S or not scenario.duration_s < least_s:
        return ScenarioError(
            "a run lasts 7 days at most", where=where, try_="a shorter duration, or shorter holds"
        )
    least = math.ceil(least_s)
    message = (
        f"{format_duration(scenario.duration_s)} is too short for {faults} fault{'s' if faults != 1 else ''}"
    )
    return ScenarioError(
        message, where=where, try_=f"at least {format_duration(least)}, such as --duration {least}s"
    )


def _together(number: int, spec: FaultSpec, scenario: Scenario, hold_s: float) -> tuple[PlannedFault, ...]:
    """The faults of one step, all with the hold of the first; the ids of companions differ by a letter."""
    step_hold_s = round(hold_s if spec.hold_s is None else spec.hold_s, 3)
    step_lease_s = round(lease_s(spec, step_hold_s), 3)
    return tuple(
        PlannedFault(
            id=f"f{number}{letter}-{fault.kind}",
            kind=fault.kind,
            target=fault.target,
            params=fault.params.parameters,
            hold_s=step_hold_s,
            recovery_max_s=RECOVERY_MAX.value_of(scenario.bounds) + CANARY.hold_ms / 1000 + LATE_S,
            lease_s=step_lease_s,
        )
        for letter, fault in zip(("", *ascii_lowercase[1:]), spec.together, strict=False)
    )


def _measured(planned: Sequence[tuple[PlannedFault, ...]], steady_s: float) -> Iterator[Step]:
    more_s = max(0.0, steady_s - STEADY_MIN_S * (len(planned) + 1))
    clean_s = round(STEADY_MIN_S + more_s * (1 - BASELINE_SHARE) / max(1, len(planned)), 3)
    yield Step("baseline", STEADY, round(steady_s - clean_s * len(planned), 3))
    for number, faults in enumerate(planned, 1):
        yield Step(faults[0].id, FAULT, round(_step_s(faults), 3), faults)
        yield Step(f"clean-{number}", STEADY, clean_s)
