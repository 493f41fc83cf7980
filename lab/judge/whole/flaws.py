"""Whether the journal and the samples are complete, segment by segment."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from lab.judge.windows.segments import Segment
from lab.model.evidence import Evidence


def journal_flaws(evidence: Evidence, segments: Sequence[Segment]) -> Iterator[str]:
    """The problems with the journal of each segment. Only the last segment must have a recorded end."""
    if evidence.journal.damage:
        yield evidence.journal.damage
    for segment in segments:
        yield from _segment_flaws(segment)
    for before, after in pairwise(segments):
        if after.number != before.number + 1:
            yield f"segment {before.number} is followed by segment {after.number}"
        if any(event.at_ms < before.to_ms for event in after.events):
            yield f"the segments {before.number} and {after.number} overlap"


def _segment_flaws(segment: Segment) -> Iterator[str]:
    events, where = segment.events, f" of segment {segment.number}" if segment.number else ""
    kind = "segment_started" if segment.number else "run_started"
    if (
        not events
        or events[0].kind != kind
        or events[0].data.get("segment", segment.number) != segment.number
    ):
        yield f"the journal{where} does not begin with {kind}"
    if segment.last and not segment.ended:
        yield f"the journal{where} does not end with run_ended: the run died, or its end is missing"
    if [event.seq for event in events] != list(range(len(events))):
        yield f"events are missing from the journal{where}, or out of order"
    elif segment.ended and events[-1].data.get("last_seq", events[-1].seq) != events[-1].seq:
        yield f"the last event of the journal{where} names another number of events"


def sample_flaws(evidence: Evidence, segments: Sequence[Segment]) -> Iterator[str]:
    """The problems with the streams that the plan expects. Any other table may be absent or empty."""
    counts = evidence.samples.counts()
    if not any(
        segment.ended and isinstance(segment.events[-1].data.get("rows"), dict) for segment in segments
    ):
        yield "the journal does not say how many samples the run recorded"
    for number, segment in enumerate(segments):
        recorded = segment.events[-1].data.get("rows") if segment.ended else None
        if isinstance(recorded, dict):
            from_ms = segment.from_ms if number else float("-inf")
            to_ms = float("inf") if segment.last else segments[number + 1].from_ms
            where = f" in segment {segment.number}" if len(segments) > 1 else ""
            for table in evidence.plan.streams:
                n = evidence.samples.count_between(table, from_ms, to_ms)
                if recorded.get(table) != n:
                    yield f"table {table} has {n} rows{where}, the journal says {recorded.get(table)}"
    for table in evidence.plan.streams:
        if counts.get(table, 0) == 0:
            yield f"table {table} is empty"
