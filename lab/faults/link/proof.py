"""Toxics on a link: their names, how many connections a toxicity needs for its proof, and when enough were hit."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from lab.errors import FaultError
from lab.model.undo import RemoveToxic
from lab.ports import Observation, World
from lab.ports.proxies import Compared, Exchange, Seen

Link = Literal["qdrant", "mcp"]
Direction = Literal["downstream", "upstream"]
# Toxiproxy draws once for each connection. Below a fifth more than 31 connections would be needed for each look.
Toxicity = Annotated[float, Ge(0.2), Le(1.0)]

TRIES = 3
# How probable a look may be that says `absent` of a toxic in force, or not `holds` of one (each side).
ERROR = 0.001


def tries(toxicity: float) -> int:
    """So many connections that, with the toxic in force, all spared is less probable than `ERROR`."""
    if toxicity >= 1.0:
        return TRIES
    return max(TRIES, math.ceil(math.log(ERROR) / math.log1p(-toxicity)))


def plausible(hits: int, of: int, toxicity: float) -> bool:
    """Whether so many hits are what a toxicity gives: neither tail of the binomial distribution below `ERROR`."""
    if toxicity >= 1.0:
        return hits == of
    chance = [math.comb(of, k) * toxicity**k * (1 - toxicity) ** (of - k) for k in range(of + 1)]
    return hits > 0 and sum(chance[: hits + 1]) > ERROR and sum(chance[hits:]) > ERROR


@dataclass(frozen=True, slots=True)
class Signs:
    """How a hit connection is told from a clean one; a connection may be neither, and then nothing is proven.

    `spared` is what a connection looks like that a toxic in force did not hit, and `past` one that goes past the proxy
    at the same time; both as a clean one where they are None.
    """

    hit: Callable[[Seen], bool]
    clean: Callable[[Seen], bool]
    spared: Callable[[Seen], bool] | None = None
    past: Callable[[Seen], bool] | None = None


def judged(
    compared: Compared, signs: Signs, toxicity: float, measured: float, unit: str, said: str
) -> Observation:
    """Holds when plausibly many are hit, all others clean, and so are those past the proxy: then it is the link.

    A service that hangs or is slow looks the same on either way, and proves nothing. Absent when every one through the
    proxy is clean.
    """
    seen, past = compared.through, compared.past
    hits = sum(signs.hit(one) for one in seen)
    clean = sum(signs.clean(one) and not signs.hit(one) for one in seen)
    spared = sum((signs.spared or signs.clean)(one) and not signs.hit(one) for one in seen)
    beside = sum((signs.past or signs.clean)(one) for one in past)
    alone = bool(past) and beside == len(past)
    holds = hits + spared == len(seen) and plausible(hits, len(seen), toxicity) and alone
    detail = f"{said}; of {len(seen)} new connections {hits} hit, {clean} clean ({_ends(seen)})"
    detail += f"; past the proxy {beside} of {len(past)} clean ({_ends(past)})"
    return Observation(measured, unit, holds, clean == len(seen) and not holds, detail)


def _ends(seen: Sequence[Seen]) -> str:
    ends = [one.end for one in seen]
    return ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends)) or "none asked"


def toxic_undo(world: World, proxy: str, kind: str, direction: str) -> RemoveToxic:
    """The undo of a toxic to come; the proxy must be there and enabled, else the toxic would change nothing."""
    world.proxies.require_enabled(proxy)
    return RemoveToxic(proxy=proxy, name=f"lab-{kind.replace('_', '-')}-{direction}")


def add(
    world: World, undo: RemoveToxic, *, kind: str, direction: str, toxicity: float, **attributes: Any
) -> None:
    """Add the toxic under the name that its undo removes."""
    world.proxies.add_toxic(
        undo.proxy, name=undo.name, kind=kind, stream=direction, attributes=attributes, toxicity=toxicity
    )


def remove(world: World, undo: RemoveToxic) -> None:
    """Remove the toxic and read the proxy back; one that is gone already is fine."""
    world.proxies.remove_toxic(undo.proxy, name=undo.name)
    if undo.name in world.proxies.toxics(undo.proxy):
        raise FaultError(
            f"the toxic {undo.name} is still on the proxy {undo.proxy!r} after its removal",
            try_="`lab heal`; restarting the toxiproxy container clears all toxics",
        )


def transfer(direction: Direction, size: int, *, alone: bool, patience_s: float) -> Exchange:
    """An exchange that moves at least `size` bytes in one direction, and little in the other."""
    answers, requests = (size, 0) if direction == "downstream" else (0, size)
    return Exchange(answer_bytes=answers, request_bytes=requests, alone=alone, patience_s=patience_s)


def least(values: Iterable[float]) -> float:
    """The smallest of those that were measured at all; infinite where none was.

    A busy machine makes some exchanges slow and none fast, so the smallest speaks for the link.
    """
    return min((value for value in values if math.isfinite(value)), default=math.inf)


def floor_of(before: Observation | None, past: Iterable[float], now: float) -> float:
    """What the link would measure without a fault: the least of before and of what goes past the proxy now.

    So a look before that a busy machine has spoilt does not spoil those that follow. `now` where nothing was before.
    """
    return now if before is None else min(before.measured, least(past))
