"""The parts of a section, the same for every output format. Their text is raw; each renderer escapes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Report = Mapping[str, Any]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One item of a list: some text, and optionally a second line with details; `loud` stands out."""

    text: str
    detail: str = ""
    loud: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """Something with a name, what was observed of it, and facts about it as (label, text) pairs."""

    name: str
    observed: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: the names of its columns, and its rows with as many cells."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Paragraph | Entry | Grid
Blocks = Callable[[Report], Sequence[Block]]


@dataclass(frozen=True, slots=True)
class JsonKey:
    """A key of `report.json` that is filled from the judge's table of the same name.

    `order` places it among the other keys. `empty` is its value where there is no such table.
    """

    name: str
    order: int
    schema: Mapping[str, Any]
    empty: object = ()


def nothing(report: Report) -> Sequence[Block]:
    """No blocks, for a section that is not shown on the terminal or in `summary.md`."""
    return ()


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report. It is left out where its function returns no blocks.

    `order` places it on the terminal and in `summary.md`; `colour` is that of its title on the terminal. A section
    without functions only contributes its `key` to `report.json`.
    """

    title: str
    order: int
    terminal: Blocks = nothing
    summary: Blocks = nothing
    colour: str = "default"
    key: JsonKey | None = None


def grid(columns: Mapping[str, Callable[[Row], object]], rows: Sequence[Row]) -> Sequence[Block]:
    """A table of the rows, each column computed by its function; nothing where there is no row."""
    if not rows:
        return ()
    cells = tuple(tuple(str(cell(row)) for cell in columns.values()) for row in rows)
    return (Grid(tuple(columns), cells),)
