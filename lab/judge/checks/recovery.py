"""Time from the confirmed heal of each fault until the target has recovered, as an interval.

The plan names the witnesses: the load's requests, the canary and the truth queries, in one stream of observations, or
in older plans the canary alone. An observation is good if the right answer came in time (`lab.judge.witnesses.limits`).
What says nothing about the target is left out (`lab.judge.witnesses.calls`). `lab.judge.stats.recovery_clock` defines
when the target has recovered. After a kill, the clock starts when the lab asks the engine to start the container.
"""

from lab.judge.stats.observations import Observations
from lab.judge.windows import host_cpu, references, watch_gaps
from lab.judge.windows.timeline import FaultWindow, Windows
from lab.judge.windows.touched import excused, put_in_doubt
from lab.judge.witnesses.backlog import remark
from lab.model.evidence import Evidence
from lab.model.scenario import BoundSpec
from lab.model.verdict import Finding, Interval, Verdict, undecided

CHECK = "recovery"
_MEANS = "time from the confirmed heal of a fault until recovered"
RECOVERY_MAX = BoundSpec("recovery_s", "<", "s", 30.0, _MEANS, above=0, at_most=3600)
BOUNDS = (RECOVERY_MAX,)
# A recovery that takes a larger share of the bound is explained.
QUICK_SHARE = 1 / 3


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding per planned fault."""
    return [_judged(evidence, windows, fault) for fault in windows.faults]


def _judged(evidence: Evidence, windows: Windows, fault: FaultWindow) -> Finding:
    """The finding about one fault. A FAIL is kept if the incidents touched only the time before the heal."""
    finding = _without_starvation(evidence, fault, _finding(evidence, fault))
    touched = watch_gaps.touching_recovery(windows, fault)
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
    subject, span, doubts = fault.planned.id, fault.span, watch_gaps.doubts_of(fault)
    if doubts or span is None or fault.cleared_ms is None:
        return undecided(CHECK, subject, "; ".join(doubts), evidence=references.events(fault.events))
    stream, after = fault.stream, fault.stream.in_slo.since(fault.cleared_ms)
    samples = (references.samples(table, fault.cleared_ms, span.to_ms) for table in stream.tables)
    where = (*references.events(fault.events), *samples)
    if fault.recovery is None:
        needed = f"at least {stream.rule.window} are needed to show a recovery"
        reason = f"{len(after)} {stream.name} after the heal; {needed}"
        return undecided(CHECK, subject, reason, evidence=where, n=len(after))
    clock = fault.recovery[0]
    bound = RECOVERY_MAX.of(evidence.plan.bounds)
    interval = Interval(clock.lo_s, float("inf") if clock.hi_s is None else clock.hi_s)
    verdict, flaw = bound.judge(interval), watch_gaps.long_pause(fault)
    if verdict is Verdict.PASS:
        flaw = flaw or watch_gaps.watched_too_short(fault)
    if flaw:
        verdict = Verdict.INCONCLUSIVE
    return Finding(
        CHECK,
        subject,
        verdict,
        verdict,
        _reason(fault, after)
        + (f"; {flaw}" if flaw else "")
        + remark(evidence, fault, QUICK_SHARE * bound.value)
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
        outcome += f" and {watch_gaps.stayed_well(fault)}"
    limits = fault.stream.limits.in_words() if fault.stream.limits is not None else ""
    counted = f"{bad} of {len(after)} {fault.stream.name} bad"
    return f"{outcome}{fault.cleared_by_another}; {counted}{f' ({limits})' if limits else ''}"
