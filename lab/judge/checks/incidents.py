"""What came between: an end before its time, a sampler that died, a clock that moved, somebody else's hand."""

from collections.abc import Iterator

from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.journal import Event

CLOCK_STEP_MS = 50.0
_WORDS = {
    "interrupted": "the run was interrupted: {why}",
    "aborted": "the run was aborted: {why}",
    "guardian_lost": "the guardian was lost: {why}",
    "lab_failed": "the lab itself failed: {why}",
    "sampler_died": "the sampler {sampler} died: {why}",
    "clock_stepped": "the wall clock stepped by {by_ms} ms",
}


def incidents(evidence: Evidence, windows: Windows) -> Iterator[str]:
    """Everything of that kind, in words, with its place in the journal."""
    for event in evidence.journal.of(*_WORDS):
        if event.kind != "clock_stepped" or abs(_step_ms(event)) > CLOCK_STEP_MS:
            told = {"sampler": "", "why": "", "by_ms": "", **event.data}
            yield f"{_WORDS[event.kind].format_map(told)} (journal:{event.seq})"
    if windows.outside is not None:
        yield f"{windows.outside[1]}; nothing after it is judged"


def _step_ms(event: Event) -> float:
    return float(event.data.get("by_ms", "inf"))
