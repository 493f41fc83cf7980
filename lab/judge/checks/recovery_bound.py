"""The time that 90 % of the recoveries from a fault do not exceed, estimated from several trials.

One trial proves little: if all of r trials recover in time, the probability of that is only known to be at least
0.05^(1/r), with 95 % confidence. From three trials on, this check computes an upper tolerance bound for log-normal
times: exp(mean + k sd) of the logarithms, where k comes from the noncentral t distribution for 90 % of all recoveries
at 95 % confidence. Source: Natrella, Experimental Statistics, NBS Handbook 91, 2-13. The estimate is pessimistic,
because it uses the upper end of each trial's interval.
"""

import math
from collections.abc import Sequence

import numpy as np

from lab.judge.checks.recovery import RECOVERY_MAX
from lab.judge.stats.recovery_clock import Clock
from lab.judge.stats.trials import TRIALS_MIN, trials_of
from lab.judge.windows import references
from lab.judge.windows.timeline import FaultWindow, Windows
from lab.judge.windows.watch_gaps import doubts_of, long_pause, touching_recovery, watched_too_short
from lab.model.evidence import Evidence
from lab.model.verdict import Finding, Interval, Verdict, undecided

CHECK = "recovery_bound"
COVERAGE, CONFIDENCE = 0.90, 0.95
# The canary cannot tell shorter times apart from 0, and the logarithm of 0 is not finite.
FLOOR_S = 0.1


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding for each fault, or set of faults in force together, with at least three trials."""
    by_id = {fault.planned.id: fault for fault in windows.faults}
    return [
        _finding(evidence, windows, subject, [[by_id[fault.id] for fault in trial] for trial in trials])
        for subject, trials in sorted(trials_of(evidence.plan).items())
        if len(trials) >= TRIALS_MIN
    ]


def tolerance_bound_s(times_s: Sequence[float]) -> float:
    """The upper tolerance bound of recovery times in seconds; infinite if one trial never recovered."""
    if any(math.isinf(time) for time in times_s):
        return math.inf
    from scipy import stats

    logs = np.log(np.maximum(times_s, FLOOR_S))
    n = len(times_s)
    k = stats.nct.ppf(CONFIDENCE, n - 1, stats.norm.ppf(COVERAGE) * math.sqrt(n)) / math.sqrt(n)
    return float(np.exp(logs.mean() + k * logs.std(ddof=1)))


def _clock(evidence: Evidence, windows: Windows, trial: Sequence[FaultWindow]) -> Clock | None:
    """The recovery time of a trial; None if the recovery from one of its faults is undecided."""
    first = trial[0]
    if first.recovery is None or any(doubts_of(fault) for fault in trial):
        return None
    if long_pause(first) or watched_too_short(first) or touching_recovery(windows, first):
        return None
    return first.recovery[0]


def _finding(
    evidence: Evidence, windows: Windows, subject: str, trials: Sequence[Sequence[FaultWindow]]
) -> Finding:
    events_by_fault = (fault.events for trial in trials for fault in trial)
    where = tuple(reference for events in events_by_fault for reference in references.events(events))
    clocks = [clock for trial in trials if (clock := _clock(evidence, windows, trial)) is not None]
    if len(clocks) < len(trials):
        undecidable = len(trials) - len(clocks)
        flaws = "void, not proven healed, touched by an incident, or not watched to the end"
        reason = f"{undecidable} of {len(trials)} trials were {flaws}"
        return undecided(CHECK, subject, reason, evidence=where, n=len(clocks))
    times = [math.inf if clock.hi_s is None else clock.hi_s for clock in clocks]
    upper_s = tolerance_bound_s(times)
    bound = RECOVERY_MAX.of(evidence.plan.bounds)
    # A bound above the limit does not prove a slow recovery. It says that so few trials cannot exclude one.
    verdict = Verdict.PASS if upper_s < bound.value else Verdict.INCONCLUSIVE
    shown = ", ".join("never" if math.isinf(time) else f"{time:.3g}" for time in times)
    reason = f"90 % of recoveries take less than this, at 95 % confidence; {len(times)} trials: {shown} s"
    return Finding(
        CHECK,
        subject,
        verdict,
        verdict,
        reason,
        observed=upper_s if math.isfinite(upper_s) else None,
        unit="s from the heal",
        ci=Interval(min(times), upper_s),
        bound=bound,
        n=len(times),
        evidence=where,
    )
