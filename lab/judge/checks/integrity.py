"""Is the evidence complete? A run that did not end as planned, or whose records disagree, does not pass.

An incident that touches only a part of the run is listed here. The other checks do not decide what it touches.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from lab.judge.whole.flaws import journal_flaws, sample_flaws
from lab.judge.whole.guardian_acts import guardian_acts
from lab.judge.whole.incident_list import listed, whole_run
from lab.judge.windows import references
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.verdict import Finding, Verdict, undecided

CHECK = "integrity"


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding about the run, with all its problems and incidents in words."""
    problems = [
        *evidence.damage,
        *journal_flaws(evidence, windows.segments),
        *_plan(evidence),
        *sample_flaws(evidence, windows.segments),
        *whole_run(evidence, windows),
        *guardian_acts(evidence, windows.segments),
    ]
    incidents = listed(windows)
    events = evidence.journal.events
    where = references.events([events[0], events[-1]]) if events else ()
    if problems:
        texts = dict.fromkeys([*problems, *incidents])
        return [undecided(CHECK, "run", "; ".join(texts), evidence=where, n=len(events))]
    rows = sum(evidence.samples.counts().values())
    reason = f"the plan was carried out; none of {len(events)} events and {rows} samples is missing"
    reason += f"; incidents: {'; '.join(incidents)}" if incidents else ""
    return [Finding(CHECK, "run", Verdict.PASS, Verdict.PASS, reason, n=len(events), evidence=where)]


def _plan(evidence: Evidence) -> Iterator[str]:
    plan, started = evidence.plan, evidence.journal.first("run_started")
    if started is not None:
        if not started.data.get("plan_sha256"):
            yield "the journal does not say which plan the run followed"
        if (started.data.get("seed"), started.data.get("campaign")) != (plan.seed, plan.campaign):
            yield "the journal belongs to another plan"
        target = started.data.get("target") or {}
        if (target.get("name"), target.get("version")) != (plan.target.name, plan.target.version):
            yield "the journal names another target than the plan"
    planned = [(step.kind, step.name) for step in plan.steps]
    for kind in ("phase_started", "phase_ended"):
        ran = _steps(evidence.journal.of(kind))
        if ran != planned:
            yield f"{len(planned)} steps were planned; the journal has {len(ran)} {kind} events, or another order"


def _steps(events: Sequence[Event]) -> list[tuple[object, object]]:
    """The steps of these events. A step that a segment cut off and the next segment began again counts once."""
    steps = [(event.segment, (event.data.get("phase"), event.data.get("step"))) for event in events]
    pairs = pairwise([(None, (None, None)), *steps])
    return [step for before, (segment, step) in pairs if before[0] == segment or before[1] != step]
