"""How findings name their evidence: journal events by sequence number, samples by table and time."""

from collections.abc import Iterable

from lab.model.journal import Event


def events(found: Iterable[Event | None]) -> tuple[str, ...]:
    """`journal:17` for each event that there is, in order of sequence and without repeats.

    `journal:1/17` stands in segment 1 of a run that was resumed; segment 0 is not named.
    """
    return tuple(map(_named, sorted({event.place for event in found if event is not None})))


def place_of(event: Event) -> str:
    """Where one event stands, such as `journal:17` or `guardian:3`."""
    place = _named(event.place)
    return place.replace("journal", "guardian", 1) if event.writer == "guardian" else place


def _named(place: tuple[int, int]) -> str:
    segment, seq = place
    return f"journal:{seq}" if segment == 0 else f"journal:{segment}/{seq}"


def samples(table: str, from_ms: float, to_ms: float) -> str:
    """`samples:requests[45000..165000ms]` for the rows of a table between two times."""
    return f"samples:{table}[{from_ms:.0f}..{to_ms:.0f}ms]"
