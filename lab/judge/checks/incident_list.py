"""The incidents of a run in words, each with what it touches, for the reason of the integrity check."""

from lab.judge.windows.incidents import Incident
from lab.judge.windows.timeline import Windows

# How many incidents are named; all of them stand among the gaps.
LISTED_MAX = 20


def listed(windows: Windows) -> list[str]:
    """Every incident of which the journal tells, and every silence that touches what is judged."""
    told = [
        f"{incident.told}, touches {_touched(incident, windows)}"
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
