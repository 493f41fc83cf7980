"""The incidents of a run in words, for the reason of the integrity check: what concerns the run as a whole, and each
incident that touches a part of it.
"""

from collections.abc import Iterator

from lab.judge.windows.incidents import Incident
from lab.judge.windows.references import place_of
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence

# How many incidents are named; all of them stand among the gaps.
LISTED_MAX = 20
_UNKNOWN = {"why": "", "error": "", "where": ""}
# What ends a run or takes its protection away concerns all of it; so does a bug, for nobody knows what it damaged.
_WHOLE_RUN = {
    "interrupted": "the run was interrupted: {why}",
    "aborted": "the run was aborted: {why}",
    "guardian_lost": "the guardian was lost: {why}",
    "lab_failed": "the lab itself failed: {why}",
    "lab_error": "an error of the lab that nobody foresaw: {error} in {where}",
}


def whole_run(evidence: Evidence, windows: Windows) -> Iterator[str]:
    """What concerns the run as a whole, in words, with its place in the journal."""
    for event in evidence.journal.of(*_WHOLE_RUN):
        if event.kind == "interrupted" and event.segment != windows.segments[-1].number:
            continue  # The run went on in another segment: an incident.
        yield f"{_WHOLE_RUN[event.kind].format_map({**_UNKNOWN, **event.data})} ({place_of(event)})"
    if windows.outside is not None:
        yield f"{windows.outside[1]}; nothing after it is judged"


def listed(windows: Windows) -> list[str]:
    """Every incident of which the journal tells, and every silence that touches what is judged."""
    told = [
        f"{incident.description}, touches {_touched(incident, windows)}"
        for incident in windows.incidents
        if incident.event is not None or _subjects(incident, windows)
    ]
    more = (
        [f"and {len(told) - LISTED_MAX} more, all of them among the gaps"] if len(told) > LISTED_MAX else []
    )
    return [*told[:LISTED_MAX], *more]


def _touched(incident: Incident, windows: Windows) -> str:
    what = "everything" if incident.streams is None else ", ".join(sorted(incident.streams))
    return f"{what} of {', '.join(_subjects(incident, windows)) or 'nothing that is judged'}"


def _subjects(incident: Incident, windows: Windows) -> list[str]:
    """The steady phases and the faults that it overlaps."""
    spans = [*windows.steady, *(fault.span for fault in windows.faults if fault.span is not None)]
    return list(dict.fromkeys(span.name for span in spans if incident.overlaps(span.from_ms, span.to_ms)))
