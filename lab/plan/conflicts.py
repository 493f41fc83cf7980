"""Refuses a step whose faults cannot be in force together, or cannot stay in force for the whole hold."""

import math
from itertools import combinations

from lab.errors import ScenarioError
from lab.faults.conflicts import clearest_claim
from lab.model.lease import hold_max_s
from lab.model.quantities import format_duration
from lab.model.scenario import FaultSpec
from lab.read.compose_file import read_topology


def require_compatible(spec: FaultSpec, where: str) -> None:
    """Raise ScenarioError if two faults of a step claim the same resource.

    One would overwrite the other, or the proof of one could not tell its own effect from the other's.
    """
    topology = read_topology()
    for first, second in combinations(spec.together, 2):
        if shared := first.params.occupies(topology) & second.params.occupies(topology):
            why = f"both act on or are measured by {clearest_claim(shared)}"
            raise ScenarioError(
                f"{first.label} and {second.label} cannot be in force together: {why}",
                where=second.where or spec.where or where,
                try_="put them into two steps, or aim one of them at another service",
            )


def require_possible_hold(spec: FaultSpec, hold_s: float, where: str) -> None:
    """Raise ScenarioError if a process that the lab starts for a fault would end before the hold does."""
    limit_s = hold_max_s(spec, hold_s)
    if hold_s <= limit_s:
        return
    shortest = min(spec.together, key=lambda fault: fault.params.lifetime_s)
    lifetime = format_duration(shortest.params.lifetime_s)
    raise ScenarioError(
        f"a hold of {format_duration(hold_s)} is too long: the process that the lab starts for {shortest.label} "
        f"ends by itself after {lifetime}",
        where=spec.where or where,
        try_=_shorter_hold(math.floor(limit_s), shortest),
    )


def _shorter_hold(limit_s: int, shortest: FaultSpec) -> str:
    """What the user can do: take a hold within the limit, in whole seconds, or another step where there is none."""
    if limit_s >= 1:
        return f"a hold of at most {format_duration(limit_s)}; the observations before and after it need the rest"
    return f"put {shortest.label} into a step of its own; observing the other faults takes longer than its process runs"
