"""Time from the confirmed heal of each fault until the target is well again, as an interval.

Only the canary counts: a good probe is answered rightly within the SLO, a slot in which none could be sent is
bad. The definition stands in `recovered`; for a kill the clock starts when the start was issued.
"""

from itertools import pairwise

from lab.judge import references
from lab.judge.recovered import CANARY, Seen, held_since
from lab.judge.windows import FaultWindow, Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Bound, Finding, Interval, Verdict, undecided

__all__ = ["CHECK", "findings", "held_since"]

CHECK = "recovery"
GAP_MS = 1500.0
# After the recovery the canary is slow on purpose: then this many of its periods may pass without a probe.
GAP_PERIODS = 3.0


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding per planned fault."""
    return [_finding(evidence, fault) for fault in windows.faults]


def _finding(evidence: Evidence, fault: FaultWindow) -> Finding:
    subject, span = fault.planned.id, fault.span
    # A service that never comes back is a result; a fault of ours that is still there is not the target's.
    doubts = (
        fault.doubts if fault.starts and fault.cleared_ms is not None else fault.doubts + fault.heal_doubts
    )
    if doubts or span is None or fault.cleared_ms is None:
        return undecided(CHECK, subject, "; ".join(doubts), evidence=references.events(fault.story))
    after = [one for one in fault.canary if one.sent_ms >= fault.cleared_ms]
    where = (*references.events(fault.story), references.samples("probes", fault.cleared_ms, span.to_ms))
    if fault.recovery is None:
        reason = f"{len(after)} canary probes after the heal; it takes {CANARY.window} to show a recovery"
        return undecided(CHECK, subject, reason, evidence=where, n=len(after))
    clock = fault.recovery[0]
    bound = Bound("<", evidence.plan.bounds.recovery_s)
    interval = Interval(clock.lo_s, float("inf") if clock.hi_s is None else clock.hi_s)
    verdict, flaw = bound.judge(interval), _hole(evidence, fault, after)
    if verdict is Verdict.PASS:
        flaw = flaw or _not_held(evidence, fault)
    if flaw:
        verdict = Verdict.INCONCLUSIVE
    return Finding(
        CHECK,
        subject,
        verdict,
        verdict,
        _said(fault, after) + (f"; {flaw}" if flaw else ""),
        observed=clock.hi_s,
        unit="s from the heal",
        ci=interval,
        bound=bound,
        n=len(after),
        evidence=where,
    )


def _said(fault: FaultWindow, after: list[Seen]) -> str:
    assert fault.recovery is not None
    clock, bad = fault.recovery[0], sum(not one.good for one in after)
    if clock.hi_s is None:
        said = f"never recovered while watched: still bad {clock.lo_s:.4g} s after the heal"
    else:
        said = f"recovered between {clock.lo_s:.4g} and {clock.hi_s:.4g} s after the heal"
    together = fault.cleared_by_another
    return f"{said}{together}; {bad} of {len(after)} probes bad"


def _hole(evidence: Evidence, fault: FaultWindow, after: list[Seen]) -> str:
    """A hole in the watch, from the heal until the recovery has held, or to the step's end."""
    assert fault.span is not None
    assert fault.cleared_ms is not None
    to_ms, recovering = fault.span.to_ms, fault.recovering
    calm_ms = to_ms if recovering is None else recovering.done_ms
    end_ms = to_ms if recovering is None else min(to_ms, recovering.sent_ms + CANARY.hold_ms)
    times = [fault.cleared_ms, *(one.sent_ms for one in after if one.asked and one.sent_ms <= end_ms), end_ms]
    for before, then in pairwise(times):
        if then - before > (GAP_MS if before < calm_ms else _slow_gap_ms(evidence)):
            return f"no canary probe was sent for {(then - before) / 1000:.3g} s"
    return ""


def _not_held(evidence: Evidence, fault: FaultWindow) -> str:
    """A watch that ended before the recovery has held; only a pass needs that: a relapse is later still."""
    assert fault.span is not None
    assert fault.recovering is not None
    watched_ms = fault.span.to_ms - fault.recovering.sent_ms
    if CANARY.hold_ms - watched_ms <= _slow_gap_ms(evidence):
        return ""
    return f"it must hold for {CANARY.hold_ms / 1000:g} s, and was watched for {watched_ms / 1000:.3g} s"


def _slow_gap_ms(evidence: Evidence) -> float:
    return max(GAP_MS, GAP_PERIODS * 1000 / evidence.plan.observer.canary_slow_hz)
