"""What a run cannot decide because the asked load is too much for this machine."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from lab.model.capacity import Capacity
from lab.model.plan import Decision, Plan

# Above this share of the capacity, queues form by chance alone: what is slow then is the machine's part as well.
LOAD_SHARE_MAX = 0.5
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


def without_overload(plan: Plan, decisions: Iterable[Decision]) -> list[Decision]:
    """The decisions; where the load is too much, nothing that depends on the target's speed can be decided."""
    why = overload(plan)
    return [
        replace(decision, decidable=False, reason=why, needs_s=None, unfit=True)
        if why is not None and decision.check in _BY_SPEED
        else decision
        for decision in decisions
    ]


def capacity_facts(plan: Plan, capacity: Capacity) -> dict[str, Any]:
    """What the journal says about the capacity: all that was measured, and what the plan makes of it.

    `overload` is why the load is too much for this machine, None where it is not.
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
    }
