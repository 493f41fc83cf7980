"""How an effect on a link is measured: how many connections it needs, how long that may take, and from what floor."""

import math
from collections.abc import Iterable

from lab.faults.proof import ERROR
from lab.ports import Observation
from lab.ports.proxies import AT_ONCE_MAX, CONNECT_TIMEOUT_S, START_PAUSE_S, Exchange

# Shared by the faults of links: no fault of its own.
FAULT = None
CONNECTIONS_MIN = 3


def connections_needed(toxicity: float) -> int:
    """The number of connections with which P(a toxic in force hits none of them) < ERROR."""
    if toxicity >= 1.0:
        return CONNECTIONS_MIN
    return max(CONNECTIONS_MIN, math.ceil(math.log(ERROR) / math.log1p(-toxicity)))


def exchanged_max_s(exchange: Exchange, number: int) -> float:
    """The longest time in seconds that this number of exchanges may take, each on a new connection."""
    rounds = number if exchange.alone else math.ceil(number / AT_ONCE_MAX)
    return rounds * (CONNECT_TIMEOUT_S + exchange.timeout_s)


def compared_max_s(exchange: Exchange, toxicity: float) -> float:
    """The longest time in seconds that a comparison may take: exchanges through the proxy, and past it between them.

    Exchanges that are `alone` follow each other; the others run at once through the proxy and past it.
    """
    through = connections_needed(toxicity)
    both = 2 * through - 1
    return (
        exchanged_max_s(exchange, both)
        if exchange.alone
        else exchanged_max_s(exchange, through) + both * START_PAUSE_S
    )


def transfer(direction: str, size: int, *, alone: bool, timeout_s: float) -> Exchange:
    """An exchange that moves at least `size` bytes in one direction, and little in the other."""
    answers, requests = (size, 0) if direction == "downstream" else (0, size)
    return Exchange(answer_bytes=answers, request_bytes=requests, alone=alone, timeout_s=timeout_s)


def least(values: Iterable[float]) -> float:
    """The smallest finite value, or infinity where there is none.

    A busy machine makes some exchanges slow and none fast, so the smallest value is the link's own.
    """
    return min((value for value in values if math.isfinite(value)), default=math.inf)


def floor_of(before: Observation | None, past: Iterable[float], now: float) -> float:
    """What the link would measure without a fault: the smallest of the value before and the values past the proxy now.

    So if a busy machine made the observation before the injection slow, the later ones are still right. While nothing
    is injected, the result is `now`.
    """
    return now if before is None else min(before.measured, least(past))
