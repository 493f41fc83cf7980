"""What a run cannot decide on this machine, because the asked load is too much for it or its timing too coarse."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from lab.judge.checks.latency import P95_MAX
from lab.model.capacity import Capacity
from lab.model.plan import Decision, Plan

# Above this share of the capacity, queues form by chance alone: what is slow then is the machine's part as well.
LOAD_SHARE_MAX = 0.5
# A bound below so many times the lateness of this machine's timers cannot be told from its noise.
NOISE_TIMES = 2.0
# The checks whose findings depend on how fast the target answers.
_BY_SPEED = ("latency", "errors", "recovery", "recovery_bound")


def overload(plan: Plan) -> str | None:
    """Why the load is too much for the measured capacity; None where it is not, or nothing was measured."""
    if plan.capacity is None:
        return None
    load_per_s, most_per_s = plan.load_per_s(), plan.capacity.mix_per_s
    if load_per_s <= LOAD_SHARE_MAX * most_per_s:
        return None
    return (
        f"the load of {load_per_s:g}/s is {plan.capacity.load_share(load_per_s):.0%} of the {most_per_s:.3g} calls/s "
        f"that the target answers on this machine; above {LOAD_SHARE_MAX:.0%} slow answers need not be the target's "
        f"doing (a rate of {LOAD_SHARE_MAX * most_per_s:.2g}/s at most can be judged here)"
    )


def noise(plan: Plan) -> str | None:
    """Why this machine cannot time what the latency's bound asks for; None where it can, or nothing was measured."""
    bound_ms = P95_MAX.value_of(plan.bounds)
    if plan.capacity is None or bound_ms > NOISE_TIMES * plan.capacity.noise_ms:
        return None
    return (
        f"this machine wakes the lab up to {plan.capacity.noise_ms:.3g} ms too late (P95), so a bound of "
        f"{bound_ms:g} ms cannot be told from its noise"
    )


def unfit_here(plan: Plan, decisions: Iterable[Decision]) -> list[Decision]:
    """The decisions, without those that this machine cannot give, whatever the duration."""
    reasons = {"latency": noise(plan)}
    if (why := overload(plan)) is not None:
        reasons |= dict.fromkeys(_BY_SPEED, why)
    return [
        decision
        if (reason := reasons.get(decision.check)) is None
        else replace(decision, decidable=False, reason=reason, needs_s=None, unfit=True)
        for decision in decisions
    ]


def capacity_facts(plan: Plan, capacity: Capacity) -> dict[str, Any]:
    """What the journal says about the capacity: all that was measured, and what the plan makes of it.

    `overload` is why the load is too much for this machine, `noise` why its timing is too coarse; None where not.
    """
    load_per_s, observer_hz = plan.load_per_s(), plan.observer_hz()
    return {
        **asdict(capacity),
        "load_per_s": load_per_s,
        "load_share": round(capacity.load_share(load_per_s), 5),
        "observer_hz": dict(observer_hz),
        "observer_share": round(capacity.share(observer_hz), 5),
        "words": capacity.in_words(load_per_s, observer_hz),
        "overload": overload(plan),
        "noise": noise(plan),
    }
