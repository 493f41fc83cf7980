"""What the observer took of the target's CPU by the rates of the plan, as runs measured it that counted no work."""

from lab.judge.windows import references
from lab.judge.windows.steady_load import SUBJECT
from lab.judge.windows.timeline import Windows
from lab.judge.windows.touched import put_in_doubt
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.verdict import Bound, Finding, Interval, Verdict, undecided


def by_cpu_time(check: str, evidence: Evidence, windows: Windows, blame: str) -> Finding:
    """One finding from the CPU time of a call; `blame` names the lab as the cause where that is too much."""
    cost = evidence.journal.last("observer_cost")
    if cost is None:
        return undecided(check, SUBJECT, "what the lab's own calls take of the target was not measured")
    canary_ms, recall_ms, share = (float(cost.data[key]) for key in ("canary_ms", "recall_ms", "share"))
    where = references.events([cost])
    if not (canary_ms > 0 and recall_ms > 0 and share > 0):
        reason = f"canary {canary_ms:g} ms, recall {recall_ms:g} ms of CPU time: nothing was measured"
        return undecided(check, SUBJECT, reason, evidence=where)
    bound = Bound("<", evidence.plan.observer.share_max)
    within = bound.judge(Interval(share, share)) is Verdict.PASS
    verdict = Verdict.PASS if within else Verdict.INCONCLUSIVE
    fast = cost.data.get("share_fast")
    reason = f"canary {canary_ms:.3g} ms and recall {recall_ms:.3g} ms of CPU time per call"
    if isinstance(fast, (int, float)):
        reason += f"; while a fault is in force or not recovered from: {fast:.1%}"
    finding = Finding(
        check,
        SUBJECT,
        verdict,
        verdict,
        reason if within else reason + blame,
        observed=share,
        unit="share of the target's CPU capacity",
        bound=bound,
        n=int(cost.data.get("calls", 1)),
        evidence=where,
    )
    return put_in_doubt(finding, windows.touching("host", Window("cost", "", windows.from_ms, cost.at_ms)))
