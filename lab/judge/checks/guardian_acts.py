"""What the guardian's journal says against a run: a run that it had to end or heal did not go as planned."""

from collections.abc import Iterator

from lab.model.evidence import Evidence


def guardian_acts(evidence: Evidence) -> Iterator[str]:
    """A run that its guardian had to end or heal did not go as planned, and one that lost its record may not have."""
    journal = evidence.guardian
    if journal is None:
        if evidence.journal.first("guardian_started") is not None:
            yield "guardian.jsonl is missing, though the run had a guardian"
        return
    if journal.damage:
        yield f"guardian.jsonl is damaged: {journal.damage}"
    if [event.seq for event in journal.events] != list(range(len(journal.events))):
        yield "events are missing from guardian.jsonl, or out of order"
    if journal.first("guardian_started") is None:
        yield "guardian.jsonl does not begin with guardian_started"
    for event in journal.of("fenced", "ended_process", "healed"):
        why = event.data.get("why") or event.data.get("fault") or ""
        yield f"the guardian acted: {event.kind} {why} (guardian:{event.seq})"
