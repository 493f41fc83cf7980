"""The definition of recovery, used by the runner while it waits and by the judge.

The target has recovered at the first good observation, sent after the fault was cleared, that begins `window`
observations of which `enough` are good, if no worse window begins within the hold after it. A relapse restarts the
count. The time of the recovery is only known to lie between the sending of the last bad observation before it and the
answer to the good one.
"""

from dataclasses import dataclass

import numpy as np

from lab.judge.stats.observations import Observation, Observations
from lab.model.recovery import CANARY, Rule


@dataclass(frozen=True, slots=True)
class Clock:
    """A time in seconds that lies in [lo_s, hi_s]; `hi_s` is None if the end was not observed (censored)."""

    lo_s: float
    hi_s: float | None
    censored: bool


def recovery_point(after: Observations, rule: Rule = CANARY) -> int | None:
    """The index of the observation at which the target recovered, or None; all were sent after the clearing."""
    windows = len(after) - rule.window + 1
    if windows < 1:
        return None
    sums = np.concatenate(([0], np.cumsum(after.good)))
    enough = sums[rule.window :] - sums[:windows] >= rule.enough
    worse = np.flatnonzero(~enough)
    # For each window, when the last observation of the next worse window was sent: a recovery must hold until then.
    relapses_ms = np.append(after.sent_ms[worse + rule.window - 1], np.inf)
    relapse_ms = relapses_ms[np.searchsorted(worse, np.arange(windows))]
    held = relapse_ms > after.sent_ms[:windows] + rule.hold_ms
    recovered = np.flatnonzero(enough & after.good[:windows] & held)
    return int(recovered[0]) if recovered.size else None


def clocks(
    observations: Observations,
    injected_ms: float,
    cleared_ms: float,
    rule: Rule,
    *,
    cleared_from_ms: float | None = None,
) -> tuple[Clock, Clock] | None:
    """Recovery from the clearing and from the injection; None where too few observations followed.

    Both end at the same observation. A target that never turned bad since the injection has no outage: its time from
    the injection is 0, if it was asked all the while. A censored clock reaches to the last bad observation, because
    until then the target had surely not recovered. Where the clearing is only known to lie between `cleared_from_ms`
    and `cleared_ms`, the interval from it is wider by as much.
    """
    after = observations.since(cleared_ms)
    if len(after) < rule.window:
        return None
    place = recovery_point(after, rule)
    end = None if place is None else after[place]
    bad = observations.where(observations.asked & ~observations.good)
    bad_ms = bad.sent_ms if end is None else bad.sent_ms[bad.sent_ms < end.sent_ms]
    last_bad_ms = float(bad_ms[-1]) if bad_ms.size else injected_ms
    from_heal = _clock(max(last_bad_ms, cleared_ms), end, cleared_ms, cleared_from_ms)
    if (
        end is not None
        and not bad_ms.size
        and _watched_until_ms(observations, injected_ms, rule) >= end.sent_ms
    ):
        return from_heal, Clock(0.0, 0.0, censored=False)
    return from_heal, _clock(last_bad_ms, end, injected_ms)


def first_harm(
    observations: Observations, issued_ms: float, recovered_ms: float = float("inf"), rule: Rule = CANARY
) -> Clock | None:
    """The time from the issue of the injection until the target first showed harm: the mirror of a recovery.

    The high end is the first end of a bad observation, because nobody could know of the harm before. The low end is
    the sending of the last good observation before any bad one, or of the last one before a gap between observations.
    Only what was sent before `recovered_ms` counts, because a bad probe long after the recovery has another cause.
    Censored where no observation was bad; None where the target was not asked.
    """
    sent_ms = observations.sent_ms
    asked = observations.where(observations.asked & (sent_ms >= issued_ms) & (sent_ms < recovered_ms))
    if not len(asked):
        return None
    bad = asked.where(~asked.good)
    first_bad_ms = bad.sent_ms[0] if len(bad) else float("inf")
    watched_ms = _watched_until_ms(asked, issued_ms, rule)
    before_ms = asked.sent_ms[(asked.sent_ms < first_bad_ms) & (asked.sent_ms <= watched_ms)]
    lo_s = (float(before_ms[-1]) - issued_ms) / 1000 if before_ms.size else 0.0
    if not len(bad):
        return Clock(lo_s, None, censored=True)
    return Clock(lo_s, (float(bad.done_ms.min()) - issued_ms) / 1000, censored=False)


def _watched_until_ms(observations: Observations, from_ms: float, rule: Rule) -> float:
    """The last time since `from_ms` at which the target was asked before the first gap."""
    sent_ms = observations.sent_ms[observations.asked & (observations.sent_ms >= from_ms)]
    known_ms = np.concatenate(([from_ms], sent_ms))
    gaps = np.flatnonzero(np.diff(known_ms) > rule.gap_ms)
    return float(known_ms[gaps[0] if gaps.size else -1])


def _clock(lo_ms: float, end: Observation | None, origin_ms: float, from_ms: float | None = None) -> Clock:
    """The time since an origin that lies between `from_ms` (the origin itself where None) and `origin_ms`."""
    lo_s = max(0.0, lo_ms - origin_ms) / 1000
    if end is None:
        return Clock(lo_s, None, censored=True)
    return Clock(lo_s, (end.done_ms - (origin_ms if from_ms is None else from_ms)) / 1000, censored=False)
