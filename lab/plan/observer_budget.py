"""How often the lab may ask the target beside the load: what it asks takes a small share of the capacity at most."""

import math

from lab.judge.checks.latency import P95_MAX
from lab.model.capacity import Capacity
from lab.model.plan import BY_CANARY, BY_LOAD, BY_TRUTH, ObserverPlan
from lab.model.scenario import Scenario
from lab.model.target import Target

# More often than this is of no use: the load's own requests are observed too.
CANARY_HZ_MAX, RECALL_HZ_MAX = 2.0, 1.0
# A hanging target must not collect calls of the lab: each is waited for as long as a request of the load, so that it
# is one call in the target's queue and not twenty.
CANARY_WAITING_MAX, RECALL_WAITING_MAX = 1, 1
BEYOND_SLO_MS = 100
RECALL_K = 10
MEMORY_EVERY_S = 5.0
# The share of the capacity that the lab's calls may take at any time, and what the plan uses of it. The capacity is
# measured within seconds, and a window may hold one call more than its rate says. And a target that works off a backlog
# recovers later by more than the share: with 4 %, a recovery of 7.4 s took 1.2 s longer (bench `observer_effect`,
# half a core, on a busy machine).
SHARE_MAX, SHARE_PLANNED = 0.05, 0.02


def observer_plan(scenario: Scenario, target: Target, capacity: Capacity | None) -> ObserverPlan:
    """Canary and truth queries, as often as the budget allows; without a measured capacity by `target.yaml`'s."""
    canary_hz, recall_hz = _rates_hz(
        _calls_per_s(target, target.canary, capacity), _calls_per_s(target, target.recall, capacity)
    )
    slo_ms = P95_MAX.value_of(scenario.bounds)
    return ObserverPlan(
        canary_slow_hz=canary_hz,
        canary_fast_hz=canary_hz,
        canary_deadline_ms=max(target.request_timeout_ms, math.ceil(slo_ms) + BEYOND_SLO_MS),
        canary_slo_ms=slo_ms,
        outstanding_max=CANARY_WAITING_MAX,
        recall_hz=recall_hz,
        recall_k=RECALL_K,
        memory_every_s=MEMORY_EVERY_S,
        share_max=SHARE_MAX,
        recall_outstanding_max=RECALL_WAITING_MAX,
        witnesses=(BY_CANARY, BY_LOAD, BY_TRUTH),
    )


def _rates_hz(canary_per_s: float, recall_per_s: float) -> tuple[float, float]:
    """Half of the budget for each; what one of them does not need goes to the other."""
    canary_share = min(
        CANARY_HZ_MAX / canary_per_s, max(SHARE_PLANNED / 2, SHARE_PLANNED - RECALL_HZ_MAX / recall_per_s)
    )
    recall_share = min(RECALL_HZ_MAX / recall_per_s, SHARE_PLANNED - canary_share)
    return _rounded_down(canary_share * canary_per_s), _rounded_down(recall_share * recall_per_s)


def _rounded_down(rate_hz: float) -> float:
    """The rate with four digits, never more than it was and never nothing."""
    scale = 10.0 ** (3 - math.floor(math.log10(rate_hz)))
    return math.floor(rate_hz * scale + 1e-6) / scale


def _calls_per_s(target: Target, operation: str, capacity: Capacity | None) -> float:
    return target.capacity_per_s if capacity is None else capacity.operations[operation].calls_per_s
