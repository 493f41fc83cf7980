"""Leases: the longest time that the faults of one step are in force in a run that does not hang.

After that time the guardian assumes that the run hangs, ends it and heals.
"""

from lab.model.scenario import FaultFacts, FaultSpec

# An observation is repeated until it shows what is wanted, and a heal until it works, for at most this time. The last
# try may begin at the very end of it.
PROOF_TIMEOUT_S = 10.0
HEAL_TIMEOUT_S = 15.0
RETRY_S = 0.5
# Added for each fault: delays by a busy machine, and by the engine in the calls around inject and heal.
SPARE_S = 30.0


def lease_s(spec: FaultSpec, hold_s: float) -> float:
    """The longest time in seconds from the injection of a step's first fault until the last is healed.

    The faults are injected and proven one after the other, held together, observed once more, and healed in reverse.
    Each observation and each heal may have to be repeated.
    """
    return hold_s + HEAL_TIMEOUT_S + RETRY_S + sum(_around_s(fault.params) for fault in spec.together)


def hold_max_s(spec: FaultSpec, hold_s: float) -> float:
    """The longest hold in seconds that ends before the lab's own processes for these faults; infinite for most faults.

    The observations around the hold, and the injections of the other faults, use up a part of their lifetime.
    """
    return min(fault.params.lifetime_s for fault in spec.together) - (lease_s(spec, hold_s) - hold_s)


def _around_s(fault: FaultFacts) -> float:
    """The longest time in seconds that one fault takes beside the hold."""
    # A transient fault is not observed again after the hold.
    observations = 1 if fault.transient else 2
    return SPARE_S + fault.act_max_s + observations * (PROOF_TIMEOUT_S + RETRY_S + fault.look_max_s)
