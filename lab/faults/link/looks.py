"""How long one look through a link may take when everything on it is as slow as it can be."""

import math

from lab.faults.link.proof import tries
from lab.ports.proxies import AT_ONCE_MAX, CONNECT_TIMEOUT_S, START_PAUSE_S


def exchanged_max_s(patience_s: float, number: int) -> float:
    """Seconds that so many exchanges may take, each on a new connection, several at once."""
    return math.ceil(number / AT_ONCE_MAX) * (CONNECT_TIMEOUT_S + patience_s)


def compared_max_s(patience_s: float, toxicity: float, *, alone: bool = False) -> float:
    """Seconds that a comparison may take: as many exchanges as a toxicity needs, and those past the proxy between.

    `alone` ones come one after the other, the others through and past the proxy side by side.
    """
    both = 2 * tries(toxicity) - 1
    if alone:
        return both * (CONNECT_TIMEOUT_S + patience_s)
    return exchanged_max_s(patience_s, tries(toxicity)) + both * START_PAUSE_S
