"""Makes the plan of a scenario: every random choice is made here, and the plan says what its run can decide."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from lab.judge.checks.traffic import CHECK as TRAFFIC
from lab.judge.windows.steady_load import SUBJECT
from lab.model.capacity import Capacity
from lab.model.plan import STREAMS_WITH_TRAFFIC, USUAL_STREAMS, Decision, Plan, Step
from lab.model.scenario import FaultSpec, Scenario
from lab.model.target import Target
from lab.plan.decisions import decisions_of, untested
from lab.plan.dry_run import describe
from lab.plan.loads import normal
from lab.plan.observer_budget import observer_plan
from lab.plan.overload import capacity_facts
from lab.plan.steps import duration_min_s, steps_of

__all__ = ["capacity_facts", "describe", "duration_min_s", "schedule"]

# What the machine must be able to do so that the lab can read the target's connections, and why it cannot without.
TRAFFIC_NEEDS = {
    "root": "only root reads them",
    "sock_diag": "this machine lacks 'sock_diag' (see `lab doctor`)",
}


def schedule(
    scenario: Scenario,
    target: Target,
    seed: int,
    *,
    capabilities: Mapping[str, bool],
    documents: int,
    queries: int,
    corpus: str,
    capacity: Capacity | None = None,
) -> Plan:
    """The plan of a scenario; the same seed and capacity give the same plan. Without one, by `target.yaml`'s.

    Raises ScenarioError where the duration is too short, and where faults of one step exclude each other.
    """
    able, unable = _by_capability(scenario.faults, capabilities)
    steps = partial(steps_of, order=_order(able, scenario, seed), load=normal(target, scenario.rate_per_s))
    plan = Plan(
        campaign=scenario.name,
        why=scenario.why,
        seed=seed,
        duration_s=scenario.duration_s,
        steps=steps(scenario),
        observer=observer_plan(scenario, target, capacity),
        bounds=scenario.bounds,
        required=tuple(dict.fromkeys((*scenario.required, TRAFFIC))),
        decisions=(),
        target=target,
        documents=documents,
        queries=queries,
        corpus=corpus,
        abort_if=scenario.abort_if,
        capacity=capacity,
        stays_well_s=scenario.stays_well_s,
        streams=USUAL_STREAMS if _why_unread(capabilities) else STREAMS_WITH_TRAFFIC,
    )
    lasting = partial(_lasting, plan, scenario, steps)
    return replace(plan, decisions=(*decisions_of(plan, lasting), *_lacks(unable, capabilities)))


def _lasting(
    plan: Plan, scenario: Scenario, steps: Callable[[Scenario], tuple[Step, ...]], duration_s: float
) -> Plan:
    """The same plan with another duration."""
    return replace(plan, duration_s=duration_s, steps=steps(replace(scenario, duration_s=duration_s)))


def _why_unread(capabilities: Mapping[str, bool]) -> str:
    """Why the lab cannot read the target's own connections here; empty where it can."""
    return next((why for need, why in TRAFFIC_NEEDS.items() if not capabilities.get(need, False)), "")


def _lacks(unable: Sequence[tuple[FaultSpec, str]], capabilities: Mapping[str, bool]) -> Iterator[Decision]:
    """What this machine's lacks leave out: faults, and the reading of the target's own connections."""
    yield from untested(unable)
    if why := _why_unread(capabilities):
        yield Decision(TRAFFIC, SUBJECT, decidable=False, reason=f"the target's connections: {why}")


def _order(able: Sequence[FaultSpec], scenario: Scenario, seed: int) -> list[FaultSpec]:
    """Rounds of all faults, one round for each trial, each in its own random order.

    So no kind has all its trials in a row.
    """
    generator = random.Random(f"{seed}:fault order")
    order: list[FaultSpec] = []
    for _ in range(scenario.trials):
        faults = list(able)
        generator.shuffle(faults)
        order += faults
    return order


def _by_capability(
    faults: tuple[FaultSpec, ...], capabilities: Mapping[str, bool]
) -> tuple[list[FaultSpec], list[tuple[FaultSpec, str]]]:
    """The faults that this machine can inject; and the others, each with the first capability that is missing."""
    able: list[FaultSpec] = []
    unable: list[tuple[FaultSpec, str]] = []
    for spec in faults:
        needs = [need for fault in spec.together for need in fault.params.needs]
        missing = [need for need in needs if not capabilities.get(need, False)]
        if missing:
            unable.append((spec, missing[0]))
        else:
            able.append(spec)
    return able, unable
