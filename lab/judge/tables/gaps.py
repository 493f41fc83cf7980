"""The gaps of a run: times in which something was not measured, or not as planned."""

from collections.abc import Iterator, Sequence

from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Finding

KEY = "gaps"


def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
    """Every incident of the run, and the steps that an interrupted run left out, in order of time."""
    gaps = [*_incidents(windows), *_left_out(evidence, windows)]
    return [{"from_ms": a, "to_ms": b, "why": why} for a, b, why in sorted(gaps)]


def _incidents(windows: Windows) -> Iterator[tuple[float, float, str]]:
    for incident in windows.incidents:
        from_ms = max(windows.from_ms, incident.from_ms)
        to_ms = max(windows.to_ms, from_ms) if incident.to_ms is None else incident.to_ms
        yield from_ms, to_ms, incident.why


def _left_out(evidence: Evidence, windows: Windows) -> Iterator[tuple[float, float, str]]:
    """The time from the end of a run that stopped early until its planned end."""
    ran = {phase.name for phase in windows.phases if phase.complete}
    missing = [step for step in evidence.plan.steps if step.name not in ran]
    if not missing:
        return
    stopped = evidence.journal.of("interrupted", "lab_failed")
    why = stopped[0].data.get("why", stopped[0].kind) if stopped else "the journal ends"
    names = ", ".join(step.name for step in missing)
    planned_end_ms = windows.from_ms + 1000 * evidence.plan.duration_s
    yield windows.to_ms, max(windows.to_ms, planned_end_ms), f"{why}; not carried out in full: {names}"
