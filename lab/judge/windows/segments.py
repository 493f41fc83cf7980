"""The segments of a run: each is one process of the lab, with its own clock origin, sequence numbers and guardian.

A run that was resumed has several. All times lie on one axis, because each segment records where on it its clock began.
Nothing was measured between two segments, and no finding assumes anything about that time.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from lab.model.journal import Event, Journal


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment, from its first event to its last. `ended` when it recorded its own end; `last` when none follows."""

    number: int
    from_ms: float
    to_ms: float
    ended: bool
    last: bool
    events: tuple[Event, ...]


def find_segments(journal: Journal) -> tuple[Segment, ...]:
    """The segments in order; one, without events, for an empty journal."""
    numbers = sorted({event.segment for event in journal}) or [0]
    return tuple(_segment(journal, number, last=number == numbers[-1]) for number in numbers)


def _segment(journal: Journal, number: int, *, last: bool) -> Segment:
    events = tuple(event for event in journal if event.segment == number)
    from_ms, to_ms = (events[0].at_ms, max(e.at_ms for e in events)) if events else (0.0, 0.0)
    ended = bool(events) and events[-1].kind == "run_ended"
    return Segment(number, from_ms, to_ms, ended, last, events)


def segment_at(segments: Sequence[Segment], at_ms: float) -> Segment:
    """The segment to which a time belongs: the last that began by then."""
    place = bisect_right(segments, at_ms, key=lambda segment: segment.from_ms) - 1
    return segments[max(0, place)]
