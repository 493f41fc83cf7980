"""Was the load really there? Without it every other check would judge silence."""

from collections import Counter

from lab.judge.windows import references
from lab.judge.windows.planned_load import chunks_in_other_steps, due_at_least, is_planned, load_in
from lab.judge.windows.steady_load import SUBJECT
from lab.judge.windows.timeline import FaultWindow, Window, Windows
from lab.model.evidence import Evidence
from lab.model.plan import STEADY
from lab.model.verdict import Bound, Finding, Verdict, not_tested, undecided

CHECK = "load_arrived"
SHARE_MIN = 0.9
NO_LOAD = "the plan has no load here"


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """The steady phases pooled, each fault's window, and whether the generator's own counts agree with the
    rows.
    """
    steady = [step for step in evidence.plan.steps if step.kind == STEADY]
    found = [_chunks(evidence, windows)]
    if any(step.load is not None for step in steady):
        found.insert(0, _arrived(evidence, SUBJECT, windows.steady))
    elif steady:
        found.append(not_tested(CHECK, SUBJECT, NO_LOAD))
    return [*found, *(_during(evidence, fault) for fault in windows.faults)]


def _during(evidence: Evidence, fault: FaultWindow) -> Finding:
    if fault.span is None:
        return undecided(CHECK, fault.planned.id, "the fault was never injected, so it has no window")
    if load_in(evidence.plan, fault.span) is None:
        return not_tested(CHECK, fault.planned.id, NO_LOAD)
    return _arrived(evidence, fault.planned.id, (fault.span,))


def _arrived(evidence: Evidence, subject: str, spans: tuple[Window, ...]) -> Finding:
    rows = [r for r in evidence.samples.requests if any(span.holds(r.scheduled_ms) for span in spans)]
    sent = sum(request.sent_ms is not None for request in rows)
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


def _chunks(evidence: Evidence, windows: Windows) -> Finding:
    """Whether the rows are those that the generator's chunks delivered."""
    journal = evidence.journal
    started, ended = journal.of("load_chunk_started"), journal.of("load_chunk_ended")
    where = references.events([*started, *ended])
    counted, rows = sum(event.data["rows"] for event in ended), len(evidence.samples.requests)
    problems = []
    if not ended:
        problems.append("no chunk of load was delivered")
    if {event.data["chunk"] for event in started} != {event.data["chunk"] for event in ended}:
        problems.append(f"{len(started)} chunks began and {len(ended)} ended")
    if counted != rows:
        problems.append(f"the chunks delivered {counted} rows, the table has {rows}")
    if cut := [event.data["chunk"] for event in ended if event.data["truncated"]]:
        problems.append(f"the raw points of chunk {', '.join(map(str, cut))} break off")
    if not all(is_planned(event, evidence.plan) for event in started):
        problems.append("a chunk ran at another rate than planned")
    if strange := list(chunks_in_other_steps(evidence, windows)):
        problems.append(f"chunk {', '.join(strange)} sent its load in a step with another load")
    ids = Counter(request.id for request in evidence.samples.requests if request.id is not None)
    if twice := sorted(name for name, n in ids.items() if n > 1):
        problems.append(f"{len(twice)} request ids occur twice or more, such as {twice[0]}")
    if problems:
        return undecided(CHECK, "chunks", "; ".join(problems), evidence=where, n=rows)
    codes = sorted({str(event.data["exit_code"]) for event in ended})
    reason = f"{len(ended)} chunks delivered the {rows} rows of the table (exit codes {', '.join(codes)})"
    return Finding(CHECK, "chunks", Verdict.PASS, Verdict.PASS, reason, n=rows, evidence=where)
