"""Problems that the guardian's journal shows. If the guardian ended or healed a run, the run did not go as planned."""

from collections.abc import Iterator, Sequence

from lab.judge.windows.incidents import GUARDIAN_ACTS
from lab.judge.windows.references import place_of
from lab.judge.windows.segments import Segment
from lab.model.evidence import Evidence
from lab.model.journal import Event


def guardian_acts(evidence: Evidence, segments: Sequence[Segment]) -> Iterator[str]:
    """The problems with each segment's guardian or its journal, in words.

    If the guardian ended or healed the last segment, the whole run is in doubt. In an earlier segment this is only an
    incident, because the run was resumed after it.
    """
    journal = evidence.guardian
    if journal is not None and journal.damage:
        yield f"guardian.jsonl is damaged: {journal.damage}"
    for segment in segments:
        had_guardian = any(event.kind == "guardian_started" for event in segment.events)
        events = [e for e in journal or () if e.segment == segment.number]
        name = "guardian.jsonl" if segment.number == 0 else f"guardian-{segment.number}.jsonl"
        if journal is None or (not events and segment.number > 0):
            if had_guardian:
                yield f"{name} is missing, though the run had a guardian"
            continue
        yield from _flaws(name, events)
        if segment.last:
            for event in events:
                if event.kind in GUARDIAN_ACTS:
                    why = event.data.get("why") or event.data.get("fault") or ""
                    yield f"the guardian acted: {event.kind} {why} ({place_of(event)})"


def _flaws(name: str, events: Sequence[Event]) -> Iterator[str]:
    if [event.seq for event in events] != list(range(len(events))):
        yield f"events are missing from {name}, or out of order"
    if not any(event.kind == "guardian_started" for event in events):
        yield f"{name} does not begin with guardian_started"
