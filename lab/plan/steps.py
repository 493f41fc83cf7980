"""Divides a duration into steps: warm-up, baseline, then each fault followed by a clean window.

A brief scenario has no clean windows: all of its steady time is the baseline.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase

from lab.errors import ScenarioError
from lab.judge.checks.recovery import RECOVERY_MAX
from lab.model.lease import lease_s
from lab.model.load import LoadProfile
from lab.model.plan import FAULT, STEADY, WARM_UP, PlannedFault, Step
from lab.model.quantities import format_duration
from lab.model.recovery import STAYS_WELL_S
from lab.model.scenario import FaultSpec, Scenario
from lab.plan.conflicts import require_compatible, require_possible_hold
from lab.read.campaigns import DURATION_MAX_S

# A fault step lasts for its hold, the proofs around it, and the time after recovery in which a relapse would show.
PROOFS_S, SETTLE_SPARE_S = 5.0, 2.0
# How much longer a recovery is watched, so that one just beyond the bound is certain: the proof of the heal takes time,
# and so do late answers.
LATE_S = 8.0
HOLD_MIN_S, HOLD_MAX_S, HOLD_SHARE = 10.0, 40.0, 1 / 15
WARM_UP_MIN_S, WARM_UP_MAX_S, WARM_UP_SHARE = 10.0, 60.0, 0.075
STEADY_MIN_S = 6.0
# A brief scenario: the load needs this long to begin (`lab.load.chunks`), and the target is warm from the measurement
# of its capacity. The baseline gives each of five equal operations as many answers as a limit needs
# (`lab.judge.witnesses.limits`), at 4 requests a second.
BRIEF_WARM_UP_S, BRIEF_BASELINE_S = 3.0, 8.0
# The baseline's share of the steady time beyond the minimum. The clean windows after the faults share the rest.
BASELINE_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class _Shortest:
    """The shortest steps of a scenario, in seconds; without clean windows where `clean_s` is 0."""

    warm_up_s: float
    baseline_s: float
    clean_s: float


_USUAL = _Shortest(WARM_UP_MIN_S, STEADY_MIN_S, STEADY_MIN_S)
_BRIEF = _Shortest(BRIEF_WARM_UP_S, BRIEF_BASELINE_S, 0.0)


def steps_of(
    scenario: Scenario, order: Sequence[FaultSpec], load: LoadProfile | None = None
) -> tuple[Step, ...]:
    """The steps of a scenario whose faults are injected in this order, all under the same load.

    Their durations add up to the scenario's duration. Raises ScenarioError where that is too short for the steps or too
    long for a run, and where a fault of the scenario cannot be in force with its companions or for its whole hold. The
    latter is checked for all faults, also for those that this machine cannot inject.
    """
    _require_possible(scenario)
    shortest = _BRIEF if scenario.brief else _USUAL
    least_s = duration_min_s(order, scenario.stays_well_s, brief=scenario.brief)
    if not least_s <= scenario.duration_s <= DURATION_MAX_S:
        raise _impossible(scenario, len(order), least_s)
    warm_up_max_s = _between(WARM_UP_MIN_S, WARM_UP_SHARE * scenario.duration_s, WARM_UP_MAX_S)
    warm_up_more = 0.0 if scenario.brief else warm_up_max_s - WARM_UP_MIN_S
    hold_more = _between(HOLD_MIN_S, HOLD_SHARE * scenario.duration_s, HOLD_MAX_S) - HOLD_MIN_S
    wanted_s = warm_up_more + hold_more * sum(spec.hold_s is None for spec in order)
    # At most half of the time beyond the minimum goes to warm-up and holds, so that enough steady time is left.
    share = min(1.0, (scenario.duration_s - least_s) / 2 / wanted_s) if wanted_s else 0.0
    warm_up_s = round(shortest.warm_up_s + share * warm_up_more, 3)
    hold_s = HOLD_MIN_S + share * hold_more
    planned = [_together(number, spec, scenario, hold_s) for number, spec in enumerate(order, 1)]
    fault_steps = [
        Step(faults[0].id, FAULT, round(_step_s(faults, scenario.stays_well_s), 3), faults)
        for faults in planned
    ]
    steady_s = scenario.duration_s - warm_up_s - math.fsum(step.duration_s for step in fault_steps)
    steps = (Step("warm-up", WARM_UP, warm_up_s), *_measured(fault_steps, steady_s, shortest))
    return tuple(replace(step, load=load) for step in steps)


def _require_possible(scenario: Scenario) -> None:
    where = scenario.source or scenario.name
    for spec in scenario.faults:
        require_compatible(spec, where)
        require_possible_hold(spec, HOLD_MAX_S if spec.hold_s is None else spec.hold_s, where)


def duration_min_s(
    order: Sequence[FaultSpec], stays_well_s: float = STAYS_WELL_S, *, brief: bool = False
) -> float:
    """The shortest duration that holds every step at its minimum."""
    shortest = _BRIEF if brief else _USUAL
    faults_s = math.fsum(
        _fault_step_s(HOLD_MIN_S if spec.hold_s is None else spec.hold_s, len(spec.together), stays_well_s)
        for spec in order
    )
    return shortest.warm_up_s + shortest.baseline_s + shortest.clean_s * len(order) + faults_s


def settle_s(stays_well_s: float) -> float:
    """How long a fault step lasts after the heal, at least: the recovery must hold so long, and a little more."""
    return stays_well_s + SETTLE_SPARE_S


def _fault_step_s(hold_s: float, faults: int, stays_well_s: float) -> float:
    return hold_s + PROOFS_S * faults + settle_s(stays_well_s)


def _step_s(faults: Sequence[PlannedFault], stays_well_s: float) -> float:
    return _fault_step_s(max(fault.hold_s for fault in faults), len(faults), stays_well_s)


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
            recovery_max_s=RECOVERY_MAX.value_of(scenario.bounds) + scenario.stays_well_s + LATE_S,
            lease_s=step_lease_s,
        )
        for letter, fault in zip(("", *ascii_lowercase[1:]), spec.together, strict=False)
    )


def _measured(fault_steps: Sequence[Step], steady_s: float, shortest: _Shortest) -> Iterator[Step]:
    """The baseline, then each fault step with its clean window; `steady_s` is divided among the steady ones."""
    clean_s = 0.0
    if shortest.clean_s:
        more_s = max(0.0, steady_s - shortest.baseline_s - shortest.clean_s * len(fault_steps))
        clean_s = round(shortest.clean_s + more_s * (1 - BASELINE_SHARE) / max(1, len(fault_steps)), 3)
    yield Step("baseline", STEADY, round(steady_s - clean_s * len(fault_steps), 3))
    for number, step in enumerate(fault_steps, 1):
        yield step
        if clean_s:
            yield Step(f"clean-{number}", STEADY, clean_s)
