"""Does the observer load the target too much? What canary and truth queries take of the target's capacity.

Counted is the work that was started, given-up calls included, in the steady phases, while a fault is in force, and
while the target recovers; and how many calls of the lab waited in the target at once. If that is too much, the lab
itself is the cause. So the finding is then INCONCLUSIVE, and never fails the target.
"""

from lab.judge.checks.observer_cpu_time import by_cpu_time
from lab.judge.stats.lab_calls import AskedIn, LabCalls, states, waiting_allowed
from lab.judge.windows import references
from lab.judge.windows.incidents import Incident
from lab.judge.windows.steady_load import SUBJECT
from lab.judge.windows.timeline import Windows
from lab.judge.windows.touched import put_in_doubt
from lab.model.evidence import Evidence
from lab.model.verdict import Bound, Finding, Verdict, undecided

CHECK = "observer_share"
LAB_IS_THE_CAUSE = (
    "; the lab itself loads the target too much here, so its part in the other findings is unknown"
)


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding for each state of the run; for older runs one, from the CPU time that was measured of a call."""
    capacity, event = evidence.plan.capacity, evidence.journal.last("capacity_measured")
    if capacity is None:
        return [by_cpu_time(CHECK, evidence, windows, LAB_IS_THE_CAUSE)]
    if event is None:
        return [undecided(CHECK, SUBJECT, "the journal does not say that the target's capacity was measured")]
    calls = LabCalls(evidence)
    where = references.events([event])
    return [
        _by_work(evidence, windows, subject, AskedIn(calls, spans, capacity), where)
        for subject, spans in states(windows.steady, windows.faults, windows.to_ms)
        if spans
    ]


def _by_work(
    evidence: Evidence, windows: Windows, subject: str, asked: AskedIn, where: tuple[str, ...]
) -> Finding:
    places, n = (*where, *asked.places()), sum(asked.calls.started(asked.spans).values())
    if n == 0:
        return undecided(CHECK, subject, "no call of the lab itself was recorded", evidence=places)
    observer, (worst_share, worst) = evidence.plan.observer, asked.worst()
    bound, share = Bound("<=", observer.share_max), asked.share()
    small = share <= bound.value and asked.is_small(observer)
    reason = (
        f"the lab asked {asked.in_words()} beside the load; {asked.waiting()} of its calls waited at once, "
        f"{waiting_allowed(observer)} may; "
        f"at most {worst_share:.2%} in {worst}"
    )
    verdict = Verdict.PASS if small else Verdict.INCONCLUSIVE
    finding = Finding(
        CHECK,
        subject,
        verdict,
        verdict,
        reason if small else reason + LAB_IS_THE_CAUSE,
        observed=share,
        unit="share of the target's capacity",
        bound=bound,
        n=n,
        evidence=places,
    )
    touched = [*windows.touching("probes", *asked.spans), *windows.touching("recall", *asked.spans)]
    return put_in_doubt(finding, [incident for incident in touched if _loses_rows(incident)])


def _loses_rows(incident: Incident) -> bool:
    """Whether calls may be missing: not in a silence, in which nothing was asked, nor where too much was."""
    return incident.event is not None and incident.event.kind != "capacity_measured"
