"""How long nine of ten recoveries from a kind of fault take at most, from several trials of it.

One trial proves little: r of r passes bound the chance of a recovery in time only at 0.05^(1/r). From three trials on
the upper tolerance bound of log-normal times is given, exp(mean + k sd) of the logarithms, with k for 90 % of all
recoveries at 95 % confidence from the noncentral t distribution. Source: Natrella, Experimental Statistics, NBS
Handbook 91, 2-13. Pessimistic throughout: the upper end of each trial's interval counts.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

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
# What the canary cannot tell from nothing; without a floor one trial at 0 would make the logarithm infinite.
FLOOR_S = 0.1


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding per fault, or faults together, that was tried at least three times."""
    by_id = {fault.planned.id: fault for fault in windows.faults}
    return [
        _finding(evidence, windows, subject, [[by_id[fault.id] for fault in trial] for trial in trials])
        for subject, trials in sorted(trials_of(evidence.plan).items())
        if len(trials) >= TRIALS_MIN
    ]


def tolerance_bound_s(times_s: Sequence[float]) -> float:
    """The upper tolerance bound of recovery times in seconds; infinite where one of them never ended."""
    if any(math.isinf(time) for time in times_s):
        return math.inf
    logs = np.log(np.maximum(times_s, FLOOR_S))
    n = len(times_s)
    k = stats.nct.ppf(CONFIDENCE, n - 1, stats.norm.ppf(COVERAGE) * math.sqrt(n)) / math.sqrt(n)
    return float(np.exp(logs.mean() + k * logs.std(ddof=1)))


def _clock(evidence: Evidence, windows: Windows, trial: Sequence[FaultWindow]) -> Clock | None:
    """The recovery of a trial that counts: one where none of its faults is left undecided."""
    first = trial[0]
    if first.recovery is None or any(doubts_of(fault) for fault in trial):
        return None
    if long_pause(evidence, first) or watched_too_short(evidence, first) or touching_recovery(windows, first):
        return None
    return first.recovery[0]


def _finding(
    evidence: Evidence, windows: Windows, subject: str, trials: Sequence[Sequence[FaultWindow]]
) -> Finding:
    stories = (fault.story for trial in trials for fault in trial)
    where = tuple(reference for story in stories for reference in references.events(story))
    clocks = [clock for trial in trials if (clock := _clock(evidence, windows, trial)) is not None]
    if len(clocks) < len(trials):
        unsound = len(trials) - len(clocks)
        flaws = "void, not surely healed, touched by an incident, or not watched to the end"
        reason = f"{unsound} of {len(trials)} trials were {flaws}"
        return undecided(CHECK, subject, reason, evidence=where, n=len(clocks))
    times = [math.inf if clock.hi_s is None else clock.hi_s for clock in clocks]
    most_s = tolerance_bound_s(times)
    bound = RECOVERY_MAX.of(evidence.plan.bounds)
    # A bound above the limit proves no slow recovery, only that so few trials do not exclude one.
    verdict = Verdict.PASS if most_s < bound.value else Verdict.INCONCLUSIVE
    shown = ", ".join("never" if math.isinf(time) else f"{time:.3g}" for time in times)
    reason = f"90 % of recoveries take less than this, at 95 % confidence; {len(times)} trials: {shown} s"
    return Finding(
        CHECK,
        subject,
        verdict,
        verdict,
        reason,
        observed=most_s if math.isfinite(most_s) else None,
        unit="s from the heal",
        ci=Interval(min(times), most_s),
        bound=bound,
        n=len(times),
        evidence=where,
    )
