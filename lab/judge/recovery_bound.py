"""How long nine of ten recoveries from a kind of fault take at most, from several trials of it.

One trial proves little: r of r passes bound the chance of a recovery in time only at 0.05^(1/r). From three trials on
the upper tolerance bound of log-normal times is given, exp(mean + k sd) of the logarithms, with k for 90 % of all
recoveries at 95 % confidence from the noncentral t distribution. Source: Natrella, Experimental Statistics, NBS
Handbook 91, 2-13. Pessimistic throughout: the upper end of each trial's interval counts.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy import stats

from lab.judge import references
from lab.judge.watch import doubts_of, hole, not_held
from lab.judge.windows import FaultWindow, Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Bound, Finding, Interval, Verdict, undecided

CHECK = "recovery_bound"
TRIALS_MIN = 3
COVERAGE, CONFIDENCE = 0.90, 0.95
# What the canary cannot tell from nothing; without a floor one trial at 0 would make the logarithm infinite.
FLOOR_S = 0.1


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding per kind and service that was hurt at least three times."""
    trials: dict[str, list[FaultWindow]] = defaultdict(list)
    for fault in windows.faults:
        trials[f"{fault.planned.kind} on {fault.planned.target}"].append(fault)
    return [
        _finding(evidence, subject, faults)
        for subject, faults in sorted(trials.items())
        if len(faults) >= TRIALS_MIN
    ]


def tolerance_bound_s(times_s: Sequence[float]) -> float:
    """The upper tolerance bound of recovery times in seconds; infinite where one of them never ended."""
    if any(math.isinf(time) for time in times_s):
        return math.inf
    logs = np.log(np.maximum(times_s, FLOOR_S))
    n = len(times_s)
    k = stats.nct.ppf(CONFIDENCE, n - 1, stats.norm.ppf(COVERAGE) * math.sqrt(n)) / math.sqrt(n)
    return float(np.exp(logs.mean() + k * logs.std(ddof=1)))


def _sound(evidence: Evidence, fault: FaultWindow) -> bool:
    """Whether a trial counts: by what would leave its own recovery undecided."""
    return not doubts_of(fault) and not hole(evidence, fault) and not not_held(evidence, fault)


def _finding(evidence: Evidence, subject: str, faults: Sequence[FaultWindow]) -> Finding:
    where = tuple(reference for fault in faults for reference in references.events(fault.story))
    clocks = [fault.recovery[0] for fault in faults if fault.recovery is not None and _sound(evidence, fault)]
    if len(clocks) < len(faults):
        unsound = len(faults) - len(clocks)
        reason = f"{unsound} of {len(faults)} trials were void, not surely healed, or not watched to the end"
        return undecided(CHECK, subject, reason, evidence=where, n=len(clocks))
    times = [math.inf if clock.hi_s is None else clock.hi_s for clock in clocks]
    most_s = tolerance_bound_s(times)
    bound = Bound("<", evidence.plan.bounds.recovery_s)
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
