"""Time from the confirmed heal of each fault until the target has recovered, as an interval.

Only the canary counts. A probe is good if it has a right answer within the SLO. A probe that could not be sent is not
good, but it is no evidence against the target either. `lab.judge.stats.recovery_clock` defines when the
target has recovered. After a kill, the clock starts when the lab asks the engine to start the container.
"""

from lab.judge.stats.observations import Observations
from lab.judge.stats.recovery_clock import held_since
from lab.judge.windows import host_cpu, references
from lab.judge.windows.timeline import FaultWindow, Windows
from lab.judge.windows.touched import excused, put_in_doubt
from lab.judge.windows.watch_gaps import doubts_of, long_pause, touching_recovery, watched_too_short
from lab.model.evidence import Evidence
from lab.model.recovery import CANARY
from lab.model.scenario import BoundSpec
from lab.model.verdict import Finding, Interval, Verdict, undecided

__all__ = ["CHECK", "findings", "held_since"]

CHECK = "recovery"
RECOVERY_MAX = BoundSpec(
    "recovery_s",
    "<",
    "s",
    30.0,
    "time from the confirmed heal of a fault until recovered",
    above=0,
    at_most=3600,
)
BOUNDS = (RECOVERY_MAX,)


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding per planned fault."""
    return [_judged(evidence, windows, fault) for fault in windows.faults]


def _judged(evidence: Evidence, windows: Windows, fault: FaultWindow) -> Finding:
    """The finding about one fault. A FAIL is kept if the incidents touched only the time before the heal."""
    finding = _without_starvation(evidence, fault, _finding(evidence, fault))
    touched = touching_recovery(windows, fault)
    if finding.verdict is Verdict.FAIL and fault.span is not None and fault.cleared_ms is not None:
        touched = [i for i in touched if i.overlaps(fault.cleared_ms, fault.span.to_ms)]
    return put_in_doubt(finding, touched)


def _without_starvation(evidence: Evidence, fault: FaultWindow, finding: Finding) -> Finding:
    """The finding; INCONCLUSIVE if it fails and might not, had all else on the machine taken no CPU time."""
    interval, bound, from_ms = finding.ci, finding.bound, fault.cleared_ms
    if interval is None or bound is None or from_ms is None:
        return finding
    least_s = host_cpu.least_s(evidence, from_ms, interval.lo)
    verdict = bound.judge(Interval(least_s, float("inf")))
    why = host_cpu.blame(evidence, from_ms, from_ms + 1000 * interval.lo)
    return excused(finding, (verdict, verdict), why)


def _finding(evidence: Evidence, fault: FaultWindow) -> Finding:
    subject, span, doubts = fault.planned.id, fault.span, doubts_of(fault)
    if doubts or span is None or fault.cleared_ms is None:
        return undecided(CHECK, subject, "; ".join(doubts), evidence=references.events(fault.events))
    after = fault.canary.since(fault.cleared_ms)
    where = (*references.events(fault.events), references.samples("probes", fault.cleared_ms, span.to_ms))
    if fault.recovery is None:
        reason = f"{len(after)} canary probes after the heal; at least {CANARY.window} are needed to show a recovery"
        return undecided(CHECK, subject, reason, evidence=where, n=len(after))
    clock = fault.recovery[0]
    bound = RECOVERY_MAX.of(evidence.plan.bounds)
    interval = Interval(clock.lo_s, float("inf") if clock.hi_s is None else clock.hi_s)
    verdict, flaw = bound.judge(interval), long_pause(evidence, fault)
    if verdict is Verdict.PASS:
        flaw = flaw or watched_too_short(evidence, fault)
    if flaw:
        verdict = Verdict.INCONCLUSIVE
    return Finding(
        CHECK,
        subject,
        verdict,
        verdict,
        _reason(fault, after)
        + (f"; {flaw}" if flaw else "")
        + ("" if verdict is Verdict.PASS else host_cpu.remark(evidence, fault.cleared_ms, span.to_ms)),
        observed=clock.hi_s,
        unit="s from the heal",
        ci=interval,
        bound=bound,
        n=len(after),
        evidence=where,
    )


def _reason(fault: FaultWindow, after: Observations) -> str:
    assert fault.recovery is not None
    clock, bad = fault.recovery[0], int((~after.good).sum())
    if clock.hi_s is None:
        outcome = f"did not recover while watched: still bad {clock.lo_s:.4g} s after the heal"
    else:
        outcome = f"recovered between {clock.lo_s:.4g} and {clock.hi_s:.4g} s after the heal"
    return f"{outcome}{fault.cleared_by_another}; {bad} of {len(after)} probes bad"
