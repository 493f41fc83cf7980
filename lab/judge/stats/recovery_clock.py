"""The definition of recovery, used by the runner while it waits and by the judge.

Recovered is the first good observation, sent after the fault was cleared, that begins `window` observations
of which `enough` are good, with no later such window worse than that within the hold; a relapse restarts the
count. The moment itself is only known to lie between the sending of the last bad observation before it and
its own end.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, starmap
from operator import attrgetter
from typing import NamedTuple

from lab.model.plan import ObserverPlan
from lab.model.recovery import CANARY, Rule
from lab.model.samples import STALLED, WRONG, Layer, Probe, Recall, Stream

_ORDER = attrgetter("sent_ms", "done_ms", "good")
_OK = Layer.OK.value
_NO_EVIDENCE = (Layer.UNSENT.value, STALLED)
_ANSWERED = (Layer.OK.value, WRONG)


class Asked(NamedTuple):
    """What a recovery is told by, of one canary probe or look at the store; a `Probe` has it too."""

    sent_ms: float
    done_ms: float | None
    outcome: str


class Seen(NamedTuple):
    """One observation of the target, good or bad; `done_ms` equals `sent_ms` where nothing came back.

    One that was not `asked` (its slot found no room, or the lab stood still) is never good, and no evidence that the
    target was bad.
    """

    sent_ms: float
    done_ms: float
    good: bool
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Clock:
    """A time in seconds, known to lie in [lo_s, hi_s]; `hi_s` is None when its end was never seen (censored)."""

    lo_s: float
    hi_s: float | None
    censored: bool


def answering(probes: Iterable[Probe | Asked]) -> list[Seen]:
    """Canary probes, good when they were answered, however late and with whatever."""
    return _rated(probes, lambda p: p.outcome in _ANSWERED and p.done_ms is not None)


def within_slo(probes: Iterable[Probe | Asked], slo_ms: float) -> list[Seen]:
    """Canary probes, good when they were answered rightly within `slo_ms` of being sent."""
    return _rated(
        probes,
        lambda p: p.outcome == _OK and p.done_ms is not None and p.done_ms - p.sent_ms <= slo_ms,
    )


def accurate(probes: Iterable[Probe | Asked]) -> list[Seen]:
    """Canary probes, good when they were answered with the documents that are right, however late."""
    return _rated(probes, lambda p: p.outcome == _OK and p.done_ms is not None)


def asked(probes: Stream[Probe], name: str, from_ms: float, to_ms: float) -> list[Asked]:
    """The probes of one name that were sent between two times."""
    return list(starmap(Asked, probes.fields(Asked._fields, from_ms, to_ms, probe=name)))


def right(rows: Iterable[Recall], accuracy: float) -> list[Seen]:
    """Truth queries, good when answered with at least `accuracy` of the exact neighbours; no answer has none."""
    return _ordered((r.sent_ms, r.done_ms, r.answered and r.hits / r.k >= accuracy) for r in rows)


def idle(probes: Iterable[Probe | Asked]) -> list[Seen]:
    """Looks at the store, good when it said that it has nothing to do; one that does not answer is not idle."""
    return _rated(probes, lambda p: p.outcome == _OK and p.done_ms is not None)


def _rated(probes: Iterable[Probe | Asked], good: Callable[[Probe | Asked], bool]) -> list[Seen]:
    seen = [
        Seen(
            p.sent_ms,
            p.sent_ms if p.done_ms is None else p.done_ms,
            good(p),
            asked=p.outcome not in _NO_EVIDENCE,
        )
        for p in probes
    ]
    return sorted(seen, key=_ORDER)


def _ordered(rows: Iterable[tuple[float, float | None, bool]]) -> list[Seen]:
    seen = [Seen(sent, sent if done is None else done, good) for sent, done, good in rows]
    return sorted(seen, key=_ORDER)


def recovery_point(seen: Sequence[Seen], rule: Rule = CANARY) -> int | None:
    """The index of the observation at which it recovered, or None; `seen` holds what was sent after the
    clearing.
    """
    sums = list(accumulate((one.good for one in seen), initial=0))
    found: int | None = None
    # The end of the next window that is under the rule, seen from the right; a candidate must hold until
    # then.
    relapse_ms = float("inf")
    for first in range(len(seen) - rule.window, -1, -1):
        enough = sums[first + rule.window] - sums[first] >= rule.enough
        if enough and seen[first].good and relapse_ms > seen[first].sent_ms + rule.hold_ms:
            found = first
        if not enough:
            relapse_ms = seen[first + rule.window - 1].sent_ms
    return found


def held_since(probes: Iterable[Probe], observer: ObserverPlan, cleared_ms: float) -> float | None:
    """Since when (ms) the target has been well, for a runner that waits; None while it is not."""
    seen = [one for one in within_slo(probes, observer.canary_slo_ms) if one.sent_ms >= cleared_ms]
    first = recovery_point(seen)
    return None if first is None else seen[first].sent_ms


def clocks(
    seen: Sequence[Seen],
    injected_ms: float,
    cleared_ms: float,
    rule: Rule,
    *,
    cleared_from_ms: float | None = None,
) -> tuple[Clock, Clock] | None:
    """Recovery from the clearing and from the injection; None where too few observations followed.

    Both end at the same observation. One that never turned bad since the injection has no outage: 0 from the
    injection, if it was asked all the while. A censored clock reaches as far as the last bad observation, for that
    is how long it was surely not well. Where the clearing is only known to lie between `cleared_from_ms` and
    `cleared_ms`, the interval from it is wider by as much.
    """
    after = [one for one in seen if one.sent_ms >= cleared_ms]
    if len(after) < rule.window:
        return None
    at = recovery_point(after, rule)
    end = None if at is None else after[at]
    bad = [
        one.sent_ms
        for one in seen
        if one.asked and not one.good and (end is None or one.sent_ms < end.sent_ms)
    ]
    last_bad_ms = max(bad, default=injected_ms)
    from_heal = _clock(max(last_bad_ms, cleared_ms), end, cleared_ms, cleared_from_ms)
    if end is not None and not bad and _watched_until_ms(seen, injected_ms, rule) >= end.sent_ms:
        return from_heal, Clock(0.0, 0.0, censored=False)
    return from_heal, _clock(last_bad_ms, end, injected_ms)


def noticed(seen: Sequence[Seen], issued_ms: float, well_ms: float = float("inf")) -> Clock | None:
    """When harm first showed, from the issue of the injection: the mirror of a recovery.

    The first bad answer's end is the high end, for before that nobody could know; the sending of the last good
    observation before any bad one is the low end, or the last before nobody looked. Only what was sent before
    `well_ms` counts (a bad probe long after the recovery is another story). Censored where nothing bad was seen; None
    where nothing was asked.
    """
    asked = [one for one in seen if one.asked and issued_ms <= one.sent_ms < well_ms]
    bad = [one for one in asked if not one.good]
    first_ms = min((one.sent_ms for one in bad), default=float("inf"))
    watched_ms = _watched_until_ms(asked, issued_ms, CANARY)
    good = (one.sent_ms for one in asked if one.sent_ms < first_ms and one.sent_ms <= watched_ms)
    lo_ms = max(good, default=issued_ms)
    lo_s = (lo_ms - issued_ms) / 1000
    if not bad:
        return Clock(lo_s, None, censored=True) if asked else None
    return Clock(lo_s, (min(one.done_ms for one in bad) - issued_ms) / 1000, censored=False)


def _watched_until_ms(seen: Sequence[Seen], from_ms: float, rule: Rule) -> float:
    """The last sending before the first gap in what was asked since `from_ms`."""
    last_ms = from_ms
    for one in seen:
        if one.asked and one.sent_ms >= from_ms:
            if one.sent_ms - last_ms > rule.gap_ms:
                break
            last_ms = one.sent_ms
    return last_ms


def _clock(lo_ms: float, end: Seen | None, origin_ms: float, from_ms: float | None = None) -> Clock:
    """The time since an origin that lies between `from_ms` (the origin itself where None) and `origin_ms`."""
    lo_s = max(0.0, lo_ms - origin_ms) / 1000
    if end is None:
        return Clock(lo_s, None, censored=True)
    return Clock(lo_s, (end.done_ms - (origin_ms if from_ms is None else from_ms)) / 1000, censored=False)
