"""A scenario and a seed make a plan; all randomness is spent here, and what the plan can decide is said here."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lab.model.plan import ObserverPlan, Plan
from lab.model.scenario import FaultSpec, Scenario
from lab.model.target import Target
from lab.plan.decisions import decisions_of, untested
from lab.plan.dry_run import describe
from lab.plan.loads import normal
from lab.plan.steps import duration_min_s, steps_of

__all__ = ["describe", "duration_min_s", "schedule"]

CANARY_SLOW_HZ, CANARY_FAST_HZ = 2.0, 10.0
# At 10 Hz five probes are outstanding after half a second: with a longer deadline a hanging target would leave no
# place for the probe that sees it come back. So a canary that has to wait longer is sent less often.
OUTSTANDING_MAX, CANARY_DEADLINE_MS, DEADLINE_MARGIN_MS = 5, 460, 40
# How much longer than the SLO it waits: an answer that is within it must never count as none.
BEYOND_SLO_MS = 100
RECALL_HZ, RECALL_K = 1.5, 10
MEMORY_EVERY_S = 5.0
# What canary and recall together may take of the target's capacity in the steady phases.
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
    """The plan of a scenario: the same for the same seed. Raises ScenarioError where the duration is too short."""
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


def _order(able: Sequence[FaultSpec], trials: int, chance: random.Random) -> list[FaultSpec]:
    """Every fault once in random order, as often as there are trials, so that no kind has all its trials in a row."""
    order: list[FaultSpec] = []
    for _ in range(trials):
        turn = list(able)
        chance.shuffle(turn)
        order += turn
    return order


def _observer(scenario: Scenario, target: Target) -> ObserverPlan:
    """Canary and recall at their usual rates, or slower on a target that these would load by more than a tenth."""
    allowed_hz = OBSERVER_SHARE_MAX * target.capacity_per_s
    scale = min(1.0, allowed_hz / (CANARY_SLOW_HZ + RECALL_HZ))
    deadline_ms = max(CANARY_DEADLINE_MS, math.ceil(scenario.bounds.latency_p95_ms) + BEYOND_SLO_MS)
    fast_hz = min(CANARY_FAST_HZ, OUTSTANDING_MAX * 1000 / (deadline_ms + DEADLINE_MARGIN_MS))
    return ObserverPlan(
        canary_slow_hz=round(min(CANARY_SLOW_HZ * scale, fast_hz), 4),
        canary_fast_hz=round(fast_hz, 4),
        canary_deadline_ms=deadline_ms,
        canary_slo_ms=scenario.bounds.latency_p95_ms,
        outstanding_max=OUTSTANDING_MAX,
        recall_hz=round(RECALL_HZ * scale, 4),
        recall_k=RECALL_K,
        memory_every_s=MEMORY_EVERY_S,
        share_max=OBSERVER_SHARE_MAX,
    )


def _by_capability(
    faults: tuple[FaultSpec, ...], capabilities: Mapping[str, bool]
) -> tuple[list[FaultSpec], list[tuple[FaultSpec, str]]]:
    """The faults that this machine can inject, and the others each with what is lacking for it or a companion."""
    able: list[FaultSpec] = []
    unable: list[tuple[FaultSpec, str]] = []
    for spec in faults:
        needs = [need for one in spec.together for need in one.params.needs]
        lacking = [need for need in needs if not capabilities.get(need, False)]
        if lacking:
            unable.append((spec, lacking[0]))
        else:
            able.append(spec)
    return able, unable
