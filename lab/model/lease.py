"""How long the faults of one step may be in force in a run that is well: beyond that the guardian takes it for hung."""

from lab.model.scenario import FaultSpec

# Within this a moment of a proof is looked for again and again, and a heal is tried; the last try may begin at its end.
PROOF_TIMEOUT_S = 10.0
HEAL_TIMEOUT_S = 15.0
RETRY_S = 0.5
# For each fault what no parameter decides: a busy machine, and an engine that takes its time for the calls around it.
SPARE_S = 30.0


def lease_s(spec: FaultSpec, hold_s: float) -> float:
    """Seconds from the injection of a step's first fault until the last is healed, at the very most.

    All are injected and proven one after the other, held together, looked at once more, and healed in reverse; each
    look may have to be taken again, and each heal.
    """
    return hold_s + HEAL_TIMEOUT_S + RETRY_S + sum(_around_s(one) for one in spec.together)


def hold_max_s(spec: FaultSpec, hold_s: float) -> float:
    """The longest hold in seconds with which all that the step's faults need lasts until its end; infinite for most.

    The looks around the hold, and the other faults' injections, take of the same time.
    """
    return min(one.params.lifetime_s for one in spec.together) - (lease_s(spec, hold_s) - hold_s)


def _around_s(one: FaultSpec) -> float:
    # One that passes by itself is not looked at after the hold.
    looks = 1 if one.params.transient else 2
    return SPARE_S + one.params.act_max_s + looks * (PROOF_TIMEOUT_S + RETRY_S + one.params.look_max_s)
