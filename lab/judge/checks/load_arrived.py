"""Did the load arrive? Without load, the other checks would judge a target that nobody used."""

from collections.abc import Sequence

from lab.judge.checks.chunks_delivered import chunks_delivered
from lab.judge.windows import references
from lab.judge.windows.incidents import Incident
from lab.judge.windows.planned_load import due_at_least, load_in
from lab.judge.windows.steady_load import SUBJECT
from lab.judge.windows.timeline import FaultWindow, Windows
from lab.judge.windows.touched import judged_apart, put_in_doubt
from lab.judge.windows.window import Window, without
from lab.model.evidence import Evidence
from lab.model.plan import STEADY
from lab.model.verdict import Bound, Finding, Verdict, not_tested, undecided

CHECK = "load_arrived"
SHARE_MIN = 0.9
NO_LOAD = "the plan has no load here"


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """The steady phases together, each fault's window, and whether the generator's counts agree with the rows."""
    steady = [step for step in evidence.plan.steps if step.kind == STEADY]
    found = [chunks_delivered(CHECK, evidence, windows)]
    if any(step.load is not None for step in steady):
        arrived = judged_apart(
            lambda holes: _arrived(evidence, SUBJECT, without(windows.steady, holes)),
            _touched(windows, *windows.steady),
        )
        found.append(arrived)
    elif steady:
        found.append(not_tested(CHECK, SUBJECT, NO_LOAD))
    return [*found, *(_during(evidence, windows, fault) for fault in windows.faults)]


def _during(evidence: Evidence, windows: Windows, fault: FaultWindow) -> Finding:
    if fault.span is None:
        return undecided(CHECK, fault.planned.id, "the fault was never injected, so it has no window")
    if load_in(evidence.plan, fault.span) is None:
        return not_tested(CHECK, fault.planned.id, NO_LOAD)
    arrived = _arrived(evidence, fault.planned.id, (fault.span,))
    return put_in_doubt(arrived, _touched(windows, fault.span))


def _touched(windows: Windows, *spans: Window) -> list[Incident]:
    """The incidents that lost requests of these windows, without silences: this check counts them as missing."""
    found = windows.touching("requests", *spans)
    return [incident for incident in found if incident.event is not None and not incident.times_only]


def _arrived(evidence: Evidence, subject: str, spans: Sequence[Window]) -> Finding:
    fields = ("scheduled_ms", "sent_ms")
    rows = [row for w in spans for row in evidence.samples.requests.fields(fields, w.from_ms, w.to_ms)]
    sent = sum(sent_ms is not None for _, sent_ms in rows)
    due = sum(due_at_least(evidence, span) for span in spans)
    where = tuple(references.samples("requests", span.from_ms, span.to_ms) for span in spans)
    if due == 0 or sent == 0:
        return undecided(
            CHECK, subject, f"{sent} requests were sent where {due} were due", evidence=where, n=len(rows)
        )
    enough = sent >= SHARE_MIN * due
    verdict = Verdict.PASS if enough else Verdict.INCONCLUSIVE
    return Finding(
        CHECK,
        subject,
        verdict,
        verdict,
        f"{sent} requests were sent where at least {due} were due",
        observed=min(1.0, sent / due),
        unit="share of the due requests",
        bound=Bound(">=", SHARE_MIN),
        n=len(rows),
        evidence=where,
    )
