"""Groups the fault steps of a plan into trials.

One step is one trial, because faults that are in force together share one recovery. Two steps are trials of the same
subject if they have the same faults with the same parameters.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence

from lab.model.plan import Plan, PlannedFault

# The smallest number of trials from which a tolerance bound of the recovery is computed.
TRIALS_MIN = 3


def trials_of(plan: Plan) -> dict[str, list[Sequence[PlannedFault]]]:
    """The faults of each fault step, by subject; a subject's name has parameters only where two would be the same."""
    trials: dict[tuple[str, str], list[Sequence[PlannedFault]]] = defaultdict(list)
    for step in plan.steps:
        if step.faults:
            trials[_name_of(step.faults), _name_of(step.faults, exactly=True)].append(step.faults)
    uses = Counter(name for name, _ in trials)
    return {name if uses[name] == 1 else exact: steps for (name, exact), steps in trials.items()}


def _name_of(faults: Sequence[PlannedFault], *, exactly: bool = False) -> str:
    return " with ".join(
        f"{fault.kind} on {fault.target}"
        + (f" {json.dumps(dict(fault.params), sort_keys=True)}" if exactly else "")
        for fault in faults
    )
