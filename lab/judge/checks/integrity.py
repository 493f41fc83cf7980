"""Is the evidence whole? A run that is not carried out to its end, or not as recorded, passes nothing.

An incident that touches only a part of the run is listed here; other checks leave undecided what it touches.
"""

from collections.abc import Iterator

from lab.judge.checks.guardian_acts import guardian_acts
from lab.judge.checks.incident_list import listed, whole_run
from lab.judge.windows import references
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Finding, Verdict, undecided

CHECK = "integrity"


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding about the run: everything that is wrong with it, or that nothing is."""
    problems = [
        *evidence.damage,
        *_journal(evidence),
        *_plan(evidence),
        *_samples(evidence),
        *whole_run(evidence, windows),
        *guardian_acts(evidence),
    ]
    incidents = listed(windows)
    events = evidence.journal.events
    where = references.events([events[0], events[-1]]) if events else ()
    if problems:
        told = dict.fromkeys([*problems, *incidents])
        return [undecided(CHECK, "run", "; ".join(told), evidence=where, n=len(events))]
    rows = sum(evidence.samples.counts().values())
    reason = f"the plan was carried out; {len(events)} events and {rows} samples are all there"
    reason += f"; incidents: {'; '.join(incidents)}" if incidents else ""
    return [Finding(CHECK, "run", Verdict.PASS, Verdict.PASS, reason, n=len(events), evidence=where)]


def _journal(evidence: Evidence) -> Iterator[str]:
    events = evidence.journal.events
    if evidence.journal.damage:
        yield evidence.journal.damage
    if not events or events[0].kind != "run_started":
        yield "the journal does not begin with run_started"
    if not events or events[-1].kind != "run_ended":
        yield "the journal does not end with run_ended: the run died, or its end is missing"
    if [event.seq for event in events] != list(range(len(events))):
        yield "events are missing from the journal, or out of order"
    elif events and events[-1].data.get("last_seq", events[-1].seq) != events[-1].seq:
        yield "the journal's last event expected another number of events"


def _plan(evidence: Evidence) -> Iterator[str]:
    plan, started = evidence.plan, evidence.journal.first("run_started")
    if started is not None:
        if not started.data.get("plan_sha256"):
            yield "the journal does not say by which plan the run was made"
        if (started.data.get("seed"), started.data.get("campaign")) != (plan.seed, plan.campaign):
            yield "the journal belongs to another plan"
        target = started.data.get("target") or {}
        if (target.get("name"), target.get("version")) != (plan.target.name, plan.target.version):
            yield "the journal names another target than the plan"
    planned = [(step.kind, step.name) for step in plan.steps]
    for kind in ("phase_started", "phase_ended"):
        seen = [(e.data.get("phase"), e.data.get("step")) for e in evidence.journal.of(kind)]
        if seen != planned:
            yield f"{len(planned)} steps were planned, {len(seen)} {kind} or in another order"


def _samples(evidence: Evidence) -> Iterator[str]:
    """What is wrong with the streams that the plan expects; a table that it does not name may be absent or empty."""
    ended = evidence.journal.last("run_ended")
    recorded = ended.data.get("rows") if ended is not None else None
    counts = evidence.samples.counts()
    if not isinstance(recorded, dict):
        yield "the journal does not say how many samples there must be"
        recorded = counts
    for table in evidence.plan.streams:
        n = counts.get(table, 0)
        if recorded.get(table) != n:
            yield f"table {table} has {n} rows, the journal says {recorded.get(table)}"
        if n == 0:
            yield f"table {table} is empty"
