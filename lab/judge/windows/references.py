"""How findings name their evidence: journal events by sequence number, samples by table and time."""

from collections.abc import Iterable

from lab.model.journal import Event


def events(found: Iterable[Event | None]) -> tuple[str, ...]:
    """`journal:17` for each event that there is, in order of sequence and without repeats."""
    return tuple(f"journal:{seq}" for seq in sorted({event.seq for event in found if event is not None}))


def samples(table: str, from_ms: float, to_ms: float) -> str:
    """`samples:requests[45000..165000ms]` for the rows of a table between two times."""
    return f"samples:{table}[{from_ms:.0f}..{to_ms:.0f}ms]"
