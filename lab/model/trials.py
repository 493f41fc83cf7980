"""What counts as a trial of the same thing.

A trial is one step: faults that are in force together share one recovery. Only steps with the same faults, all with the
same parameters, are trials of one another.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence

from lab.model.plan import Plan, PlannedFault

# From so many trials on a tolerance bound of the recovery is computed.
TRIALS_MIN = 3


def trials_of(plan: Plan) -> dict[str, list[Sequence[PlannedFault]]]:
    """The faults of each fault step, by what is tried; parameters are named where only they tell subjects apart."""
    trials: dict[tuple[str, str], list[Sequence[PlannedFault]]] = defaultdict(list)
    for step in plan.steps:
        if step.faults:
            trials[_named(step.faults), _named(step.faults, exactly=True)].append(step.faults)
    often = Counter(name for name, _ in trials)
    return {name if often[name] == 1 else exact: steps for (name, exact), steps in trials.items()}


def _named(faults: Sequence[PlannedFault], *, exactly: bool = False) -> str:
    return " with ".join(
        f"{fault.kind} on {fault.target}"
        + (f" {json.dumps(dict(fault.params), sort_keys=True)}" if exactly else "")
        for fault in faults
    )
