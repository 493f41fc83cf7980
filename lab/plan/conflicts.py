"""Refuses faults that cannot be in force together, or for as long as asked: they could not be proven or healed."""

import math
from itertools import combinations

from lab.errors import ScenarioError
from lab.faults.conflicts import most_telling
from lab.model.lease import hold_max_s
from lab.model.quantities import format_duration
from lab.model.scenario import FaultSpec
from lab.read.compose_file import read_topology


def require_apart(spec: FaultSpec, where: str) -> None:
    """Raise ScenarioError where two faults of a step would overwrite each other, or hide each other's proof."""
    topology = read_topology()
    for first, second in combinations(spec.together, 2):
        if shared := first.params.occupies(topology) & second.params.occupies(topology):
            why = f"both act on or are measured by {most_telling(shared)}"
            raise ScenarioError(
                f"{first.label} and {second.label} cannot be in force together: {why}",
                where=second.where or spec.where or where,
                try_="put them into two steps, or aim one of them at another service",
            )


def require_lasting(spec: FaultSpec, hold_s: float, where: str) -> None:
    """Raise ScenarioError where a hold in seconds is longer than a process lives that the lab starts for a fault."""
    if hold_s <= hold_max_s(spec, hold_s):
        return
    most_s = math.floor(hold_max_s(spec, hold_s))
    shortest = min(spec.together, key=lambda fault: fault.params.lifetime_s)
    lifetime = format_duration(shortest.params.lifetime_s)
    lasts = f"the lab's process for {shortest.label} ends by itself after {lifetime}"
    if most_s >= 1:
        try_ = f"a hold of {format_duration(most_s)} at most; the observations around it take the rest"
    else:
        try_ = f"a step of its own for {shortest.label}: to observe the other faults takes longer than that"
    raise ScenarioError(
        f"a hold of {format_duration(hold_s)} is too long: {lasts}", where=spec.where or where, try_=try_
    )
