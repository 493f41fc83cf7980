"""Which faults may be in force together, and for how long: what cannot be proven or healed is not planned."""

import math
from itertools import combinations

from lab.errors import ScenarioError
from lab.faults.conflicts import most_telling
from lab.model.lease import hold_max_s
from lab.model.quantities import format_duration
from lab.model.scenario import FaultSpec
from lab.read.compose_file import read_topology


def require_apart(spec: FaultSpec, where: str) -> None:
    """Raise ScenarioError where two faults of a step would overwrite each other, or could not be told apart."""
    topology = read_topology()
    for one, other in combinations(spec.together, 2):
        if shared := one.params.occupies(topology) & other.params.occupies(topology):
            why = f"both act on or are measured by {most_telling(shared)}"
            raise ScenarioError(
                f"{one.said} and {other.said} cannot be in force together: {why}",
                where=other.where or spec.where or where,
                try_="two steps, one after the other; or one of them on another service",
            )


def require_lasting(spec: FaultSpec, hold_s: float, where: str) -> None:
    """Raise ScenarioError where a hold in seconds outlasts what the lab starts for a fault of the step."""
    if hold_s <= hold_max_s(spec, hold_s):
        return
    most_s = math.floor(hold_max_s(spec, hold_s))
    short = min(spec.together, key=lambda one: one.params.lifetime_s)
    lasts = f"what {short.said} needs ends by itself after {format_duration(short.params.lifetime_s)}"
    if most_s >= 1:
        try_ = f"a hold of {format_duration(most_s)} at most; the looks around it take the rest"
    else:
        try_ = f"a step of its own for {short.said}: the looks at the others take longer than that"
    raise ScenarioError(
        f"a hold of {format_duration(hold_s)} is too long: {lasts}", where=spec.where or where, try_=try_
    )
