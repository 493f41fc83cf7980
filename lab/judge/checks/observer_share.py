"""Does the observer load the target too much? The share of its CPU capacity that canary and truth queries use.

If the share is too large, the lab itself is the cause. So the finding is then INCONCLUSIVE, and never fails the target.
"""

from lab.judge.windows import references
from lab.judge.windows.steady_load import SUBJECT
from lab.judge.windows.timeline import Windows
from lab.judge.windows.touched import put_in_doubt
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.verdict import Bound, Finding, Interval, Verdict, undecided

CHECK = "observer_share"


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding, from the cost of a call that was measured before the load began."""
    cost = evidence.journal.last("observer_cost")
    if cost is None:
        return [
            undecided(CHECK, SUBJECT, "the CPU time that the observer uses in the target was not measured")
        ]
    canary_ms, recall_ms, share = (float(cost.data[key]) for key in ("canary_ms", "recall_ms", "share"))
    where = references.events([cost])
    if not (canary_ms > 0 and recall_ms > 0 and share > 0):
        reason = f"canary {canary_ms:g} ms, recall {recall_ms:g} ms of CPU time: nothing was measured"
        return [undecided(CHECK, SUBJECT, reason, evidence=where)]
    bound = Bound("<", evidence.plan.observer.share_max)
    within = bound.judge(Interval(share, share)) is Verdict.PASS
    verdict = Verdict.PASS if within else Verdict.INCONCLUSIVE
    fast = cost.data.get("share_fast")
    reason = f"canary {canary_ms:.3g} ms and recall {recall_ms:.3g} ms of CPU time per call"
    if isinstance(fast, (int, float)):
        reason += f"; while a fault is in force or not recovered from: {fast:.1%}"
    if not within:
        reason += (
            "; the lab itself loads the target too much here, so its part in the other findings is unknown"
        )
    unit, n = "share of the target's CPU capacity", int(cost.data.get("calls", 1))
    finding = Finding(
        CHECK,
        SUBJECT,
        verdict,
        verdict,
        reason,
        observed=share,
        unit=unit,
        bound=bound,
        n=n,
        evidence=where,
    )
    return [put_in_doubt(finding, windows.touching("host", Window("cost", "", windows.from_ms, cost.at_ms)))]
