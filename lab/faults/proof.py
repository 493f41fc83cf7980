"""What the proofs of several families share."""

import math

from lab.errors import FaultError
from lab.ports import ContainerState, World

# The highest probability of a false observation, on each side: one that says `absent` although the fault is in force,
# or that does not say `holds`.
ERROR = 0.001


def plausible(hits: int, of: int, share: float) -> bool:
    """True if `hits` of `of` is plausible under Binomial(of, share): neither tail is less probable than `ERROR`."""
    if share >= 1.0:
        return hits == of
    chance = [math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(of + 1)]
    return hits > 0 and sum(chance[: hits + 1]) > ERROR and sum(chance[hits:]) > ERROR


def living(world: World, service: str, verb: str) -> ContainerState:
    """The state of a service that runs and is not paused; raises FaultError where the fault would prove nothing."""
    state = world.containers.state(service)
    if not state.running or state.paused:
        problem = "is paused" if state.paused else f"does not run (exit code {state.exit_code})"
        raise FaultError(
            f"{service} {problem}, so {verb} it would prove nothing",
            where=state.name,
            try_="`lab up`, then look at the container's log",
        )
    return state
