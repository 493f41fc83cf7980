"""How findings name their evidence: journal events by sequence number, samples by table and time."""

from collections.abc import Iterable

from lab.model.journal import Event


def events(found: Iterable[Event | None]) -> tuple[str, ...]:
    """A reference such as `journal:17` for each event, in order and without repeats.

    In a run that was resumed, `journal:1/17` is an event of segment 1. Segment 0 is not named.
    """
    return tuple(map(_named, sorted({event.place for event in found if event is not None})))


def place_of(event: Event) -> str:
    """The reference to one event, such as `journal:17` or `guardian:3`."""
    return _named(event.place, "guardian" if event.writer == "guardian" else "journal")


def _named(place: tuple[int, int], journal: str = "journal") -> str:
    segment, seq = place
    return f"{journal}:{seq}" if segment == 0 else f"{journal}:{segment}/{seq}"


def samples(table: str, from_ms: float, to_ms: float) -> str:
    """`samples:requests[45000..165000ms]` for the rows of a table between two times."""
    return f"samples:{table}[{from_ms:.0f}..{to_ms:.0f}ms]"
