"""Makes the plan of a scenario: every random choice is made here, and the plan says what its run can decide."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lab.judge.checks.latency import P95_MAX
from lab.model.plan import ObserverPlan, Plan
from lab.model.scenario import FaultSpec, Scenario
from lab.model.target import Target
from lab.plan.decisions import decisions_of, untested
from lab.plan.dry_run import describe
from lab.plan.loads import normal
from lab.plan.steps import duration_min_s, steps_of

__all__ = ["describe", "duration_min_s", "schedule"]

CANARY_SLOW_HZ, CANARY_FAST_HZ = 1.0, 10.0
# At 10 Hz five probes are under way after half a second. With a longer deadline a hanging target would occupy all five,
# and no probe could observe its recovery. Therefore a canary with a longer deadline is sent less often.
OUTSTANDING_MAX, CANARY_DEADLINE_MS, DEADLINE_MARGIN_MS = 5, 460, 40
# How much longer than the SLO the canary waits, so that an answer within the SLO never counts as no answer.
BEYOND_SLO_MS = 100
RECALL_HZ, RECALL_K = 1.5, 10
MEMORY_EVERY_S = 5.0
# The share of the target's capacity that canary and recall together may take in the steady phases.
OBSERVER_SHARE_MAX = 0.1


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
    """The plan of a scenario; the same seed gives the same plan.

    Raises ScenarioError where the duration is too short, and where faults of one step exclude each other.
    """
    able, unable = _by_capability(scenario.faults, capabilities)
    load = normal(target, scenario.rate_per_s)
    order = _order(able, scenario.trials, random.Random(f"{seed}:fault order"))
    plan = Plan(
        campaign=scenario.name,
        why=scenario.why,
        seed=seed,
        duration_s=scenario.duration_s,
        steps=steps_of(scenario, order, load),
        observer=_observer(scenario, target),
        bounds=scenario.bounds,
        required=scenario.required,
        decisions=(),
        target=target,
        documents=documents,
        queries=queries,
        corpus=corpus,
        abort_if=scenario.abort_if,
    )

    def lasting(duration_s: float) -> Plan:
        steps = steps_of(replace(scenario, duration_s=duration_s), order, load)
        return replace(plan, duration_s=duration_s, steps=steps)

    return replace(plan, decisions=(*decisions_of(plan, lasting), *untested(unable)))


def _order(able: Sequence[FaultSpec], trials: int, generator: random.Random) -> list[FaultSpec]:
    """Rounds of all faults, one round for each trial, each in its own random order.

    So no kind has all its trials in a row.
    """
    order: list[FaultSpec] = []
    for _ in range(trials):
        faults = list(able)
        generator.shuffle(faults)
        order += faults
    return order


def _observer(scenario: Scenario, target: Target) -> ObserverPlan:
    """Canary and recall at their usual rates; slower where these would take too much of the target's capacity."""
    allowed_hz = OBSERVER_SHARE_MAX * target.capacity_per_s
    scale = min(1.0, allowed_hz / (CANARY_SLOW_HZ + RECALL_HZ))
    slo_ms = P95_MAX.value_of(scenario.bounds)
    deadline_ms = max(CANARY_DEADLINE_MS, math.ceil(slo_ms) + BEYOND_SLO_MS)
    fast_hz = min(CANARY_FAST_HZ, OUTSTANDING_MAX * 1000 / (deadline_ms + DEADLINE_MARGIN_MS))
    return ObserverPlan(
        canary_slow_hz=round(min(CANARY_SLOW_HZ * scale, fast_hz), 4),
        canary_fast_hz=round(fast_hz, 4),
        canary_deadline_ms=deadline_ms,
        canary_slo_ms=slo_ms,
        outstanding_max=OUTSTANDING_MAX,
        recall_hz=round(RECALL_HZ * scale, 4),
        recall_k=RECALL_K,
        memory_every_s=MEMORY_EVERY_S,
        share_max=OBSERVER_SHARE_MAX,
    )


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
