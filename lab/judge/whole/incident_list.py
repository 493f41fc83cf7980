"""Problems of the whole run, and incidents that touch a part of it, in words for the integrity check."""

from collections.abc import Iterator

from lab.judge.windows.incidents import Incident
from lab.judge.windows.references import place_of
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.journal import LAB_ERROR

# How many incidents are named; the table of gaps has them all.
LISTED_MAX = 20
_UNKNOWN = {"why": "", "error": "", "where": ""}
# Events that put the whole run in doubt: it ended early, lost its protection, or met a bug of unknown effect. A bug in
# the work on one fault is an incident instead.
_WHOLE_RUN = {
    "interrupted": "the run was interrupted: {why}",
    "aborted": "the run was aborted: {why}",
    "guardian_lost": "the guardian was lost: {why}",
    "lab_failed": "the lab itself failed: {why}",
    "lab_error": "an unexpected error in the lab: {error} in {where}",
}


def whole_run(evidence: Evidence, windows: Windows) -> Iterator[str]:
    """The problems of the whole run in words, each with its place in the journal."""
    errors = [i.event for i in windows.incidents if i.event is not None and i.event.kind == LAB_ERROR]
    of_one_fault = {event.place for event in errors}
    for event in evidence.journal.of(*_WHOLE_RUN):
        if event.kind == LAB_ERROR and event.place in of_one_fault:
            continue
        if event.kind == "interrupted" and event.segment != windows.segments[-1].number:
            continue  # The run went on in another segment, so this is an incident.
        yield f"{_WHOLE_RUN[event.kind].format_map({**_UNKNOWN, **event.data})} ({place_of(event)})"
    if windows.outside is not None:
        yield f"{windows.outside[1]}; nothing after it is judged"


def listed(windows: Windows) -> list[str]:
    """Every incident that the journal records, and every silence that touches something judged, in words."""
    descriptions = [
        f"{incident.description}, touches {_touched(incident, windows)}"
        for incident in windows.incidents
        if incident.event is not None or _subjects(incident, windows)
    ]
    rest = len(descriptions) - LISTED_MAX
    more = [f"and {rest} more; the table of gaps has them all"] if rest > 0 else []
    return [*descriptions[:LISTED_MAX], *more]


def _touched(incident: Incident, windows: Windows) -> str:
    what = "everything" if incident.streams is None else ", ".join(sorted(incident.streams))
    return f"{what} of {', '.join(_subjects(incident, windows)) or 'nothing that is judged'}"


def _subjects(incident: Incident, windows: Windows) -> list[str]:
    """The names of the steady phases and faults that an incident overlaps."""
    spans = [*windows.steady, *(fault.span for fault in windows.faults if fault.span is not None)]
    return list(dict.fromkeys(span.name for span in spans if incident.overlaps(span.from_ms, span.to_ms)))
