"""What the target's own connections carried in a stretch of time, and what that says of a fault that was in force.

A fault of a link or a network is proven on sockets of the lab. That says nothing of a target that goes another way, so
the target's own connections must show the effect too (docs/decisions/0019).
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.samples import PAST, STORE, Traffic
from lab.model.scenario import CROSSES, STOPS, OwnTraffic, effect_from_json

STREAM = "traffic"
# How long before an injection the target's traffic is compared with that in force.
BEFORE_MS = 20_000.0
# A link that is cut carries nothing. What is under way at the moment of the cut must not void the fault.
STOPPED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Crossing:
    """What crossed some routes between the first and the last reading of a stretch of time."""

    readings: int
    seconds: float
    sent_bytes: int
    received_bytes: int
    opened: int
    retransmitted: int
    unanswered_max: int

    @property
    def bytes(self) -> int:
        """In both directions together."""
        return self.sent_bytes + self.received_bytes

    @property
    def received_per_s(self) -> float:
        """Bytes that arrived, per second."""
        return self.received_bytes / self.seconds if self.seconds > 0 else 0.0

    @property
    def any(self) -> bool:
        """Whether anything crossed, or tried to."""
        return bool(self.bytes or self.opened or self.retransmitted or self.unanswered_max)


def crossing(rows: Sequence[Traffic], routes: Collection[str]) -> Crossing:
    """What crossed these routes; a way that the first reading does not tell of began at zero."""
    times = sorted({row.at_ms for row in rows})
    by_way: dict[tuple[str, str], list[Traffic]] = defaultdict(list)
    for row in rows:
        if row.route in routes:
            by_way[row.route, row.peer].append(row)
    sent = received = opened = retransmitted = 0
    for found in by_way.values():
        last, first = found[-1], found[0] if found[0].at_ms == times[0] else None
        sent += last.sent_bytes - (first.sent_bytes if first else 0)
        received += last.received_bytes - (first.received_bytes if first else 0)
        opened += last.opened - (first.opened if first else 0)
        retransmitted += last.retransmitted - (first.retransmitted if first else 0)
    seconds = (times[-1] - times[0]) / 1000 if times else 0.0
    unanswered = max((row.unanswered for found in by_way.values() for row in found), default=0)
    return Crossing(len(times), seconds, sent, received, opened, retransmitted, unanswered)


def past_the_proxy(evidence: Evidence) -> list[str]:
    """The addresses of stores that the target reached past every proxy, at any time of the run."""
    rows = evidence.samples.traffic.fields(("at_ms", "peer"), float("-inf"), float("inf"), route=PAST)
    return sorted({str(peer) for _, peer in rows})


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fault did to the target's own connections: `before` its injection, and `during` the time in force."""

    stated: OwnTraffic
    before: Crossing
    during: Crossing

    @property
    def in_words(self) -> str:
        """What the connections received, before and in force."""
        before, during = self.before.received_per_s, self.during.received_per_s
        return f"the target's own connections received {before:.0f} bytes/s before and {during:.0f} in force"

    def doubts(self) -> Iterator[str]:
        """Why the fault is not proven by it."""
        stated, before, during = self.stated.effect, self.before, self.during
        if during.readings < 2:
            yield "the target's own connections were not read while it was in force"
        elif stated == STOPS and not before.bytes:
            yield "nothing of the target's own traffic crossed there before it, so none could stop"
        elif stated == STOPS and during.received_per_s > STOPPED_SHARE * before.received_per_s:
            yield f"the target's own traffic went on: {self.in_words}"
        elif stated != STOPS and not during.any and (stated == CROSSES or not before.bytes):
            yield "nothing of the target's own traffic crossed there while it was in force"


def effect_of(evidence: Evidence, events: Sequence[Event]) -> Effect | None:
    """What a fault with these events did; None for one that acts on no connection, and where nothing was recorded."""
    injecting, proven, healing = (_first(events, kind) for kind in _MOMENTS)
    stated = None if injecting is None else effect_from_json(injecting.data.get("own_traffic"))
    if (
        injecting is None
        or proven is None
        or healing is None
        or stated is None
        or not evidence.plan.reads_traffic
    ):
        return None
    rows, at_ms = evidence.samples.traffic, injecting.at_ms
    before = crossing(rows.between(at_ms - BEFORE_MS, at_ms), stated.routes)
    return Effect(stated, before, crossing(rows.between(proven.at_ms, healing.at_ms), stated.routes))


def traffic_doubts(evidence: Evidence, events: Sequence[Event], *, alone: bool) -> Iterator[str]:
    """Why a fault is not proven on the target's own traffic; nothing for a run that does not record it.

    A fault that is in force together with others (not `alone`) is not asked what crossed, for they may stop it.
    """
    injecting = _first(events, "fault_injecting")
    stated = None if injecting is None else effect_from_json(injecting.data.get("own_traffic"))
    if stated is None or not evidence.plan.reads_traffic:
        return
    around = past_the_proxy(evidence) if STORE in stated.routes and PAST not in stated.routes else []
    if around:
        yield (
            f"the target's own connections to the store go past the proxy, to {', '.join(around)},"
            " where this fault does not act"
        )
    elif alone and (effect := effect_of(evidence, events)) is not None:
        yield from effect.doubts()


_MOMENTS = ("fault_injecting", "fault_in_force", "fault_healing")


def _first(events: Sequence[Event], kind: str) -> Event | None:
    return next((event for event in events if event.kind == kind), None)
