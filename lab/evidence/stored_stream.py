"""The rows of one SQLite table as a `Stream`, read piece by piece, because a table can be too large for memory."""

import sqlite3
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import starmap
from operator import eq, itemgetter
from types import NoneType
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from lab.evidence.held_columns import Column, Numbers, NumbersReader, Places, WordsReader
from lab.evidence.sample_tables import ADDED, SCHEMA, columns_of
from lab.model.samples import Layer, Stream, in_time_order

T = TypeVar("T")

# Columns that are held in memory besides the times: the judge asks for them of nearly all rows, and more than once.
_HELD: dict[str, tuple[str, ...]] = {
    "requests": ("sent_ms",),
    "probes": ("done_ms", "probe", "outcome"),
}
# Rows that are read at once.
_BLOCK = 50_000
# If at least this many rows lie between two places, each place is read by a query of its own.
_SKIP = 500
# SQLite's types for the values of each Python type. The judge treats whole and real numbers alike.
_NUMBER, _TEXT = ("integer", "real"), ("text",)
_STORED: dict[Any, tuple[str, ...]] = {
    float: _NUMBER,
    int: _NUMBER,
    bool: _NUMBER,
    str: _TEXT,
    Layer: _TEXT,
    NoneType: ("null",),
}
_LAYERS = {layer.value: layer for layer in Layer}
# What makes the field of a row from a stored value, for the columns whose values SQLite has no type for.
_FIELD_OF: dict[str, Callable[[Any], Any]] = {"ok": bool, "answered": bool, "layer": _LAYERS.__getitem__}


class SampleFile:
    """An open `samples.sqlite`; it is closed when no stream of it is left."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def __del__(self) -> None:
        self.db.close()


class StoredStream(Generic[T]):
    """A `Stream` of one table. In memory are only the time of each row, its place in the file and a few columns.

    Every row is read once when the stream is made, so that what cannot be read is found then: raises sqlite3.Error or
    ValueError where the table is damaged.
    """

    def __init__(self, file: SampleFile, table: str) -> None:
        self._file, self._table = file, table
        row_type, _ = SCHEMA[table]
        self._columns = _present(file.db, table)
        _require_types(file.db, table, row_type, self._columns)
        self._build: Callable[[list[tuple[Any, ...]]], list[T]] = _builder(row_type, self._columns)
        times, places, readers = _read_through(file.db, table, self._columns)
        order = np.argsort(times, kind="stable")
        self._times, self._places = times[order], places[order]
        self._held: dict[str, Column] = {self._columns[0]: Numbers(self._times)}
        for name, reader in readers.items():
            if (column := reader.column(order)) is not None:
                self._held[name] = column

    def __len__(self) -> int:
        return int(self._times.size)

    def __iter__(self) -> Iterator[T]:
        first = 0
        while first < len(self):
            # A block ends between two times, so that rows of one time are put in order together.
            last_ms = self._times[min(first + _BLOCK, len(self)) - 1]
            end = int(np.searchsorted(self._times, last_ms, side="right"))
            yield from self._rows(first, end)
            first = end

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def between(self, from_ms: float, to_ms: float) -> Sequence[T]:
        """The rows from one time up to, and not including, another."""
        first, end = np.searchsorted(self._times, [from_ms, to_ms], side="left")
        return self._rows(int(first), int(end))

    def fields(
        self, names: Sequence[str], from_ms: float, to_ms: float, **values: str
    ) -> Sequence[tuple[Any, ...]]:
        """These fields of the rows of `between` that have these values; the first must be the time."""
        first, end = map(int, np.searchsorted(self._times, [from_ms, to_ms], side="left"))
        if self._held.keys() >= {*names, *values}:
            places = self._having(slice(first, max(first, end)), values)
            found = list(zip(*(self._held[name].values(places) for name in names), strict=True))
        else:
            found = self._found(first, end, names, values)
        return _converted(names, found)

    def count_between(self, from_ms: float, to_ms: float) -> int:
        """How many rows `between` would return."""
        first, end = np.searchsorted(self._times, [from_ms, to_ms], side="left")
        return max(0, int(end) - int(first))

    def times(self, **values: str) -> "array[float]":
        """The times, in order, of the rows whose fields have these values."""
        found = self._times
        if self._held.keys() >= values.keys():
            found = found[self._having(slice(0, len(self)), values)]
        else:
            wanted = " AND ".join(f"{name} = ?" for name in values)
            rows = self._select(self._columns[0], wanted, list(values.values()))
            found = np.sort(np.array(array("d", map(itemgetter(0), rows))))
        return array("d", found.tobytes())

    def _having(self, rows: slice, values: Mapping[str, str]) -> Places:
        """The places in time of those of these rows that have these values, all of columns that are held."""
        if not values:
            return rows
        equal = [self._held[name].equal(value, rows) for name, value in values.items()]
        places: NDArray[np.intp] = rows.start + np.flatnonzero(np.logical_and.reduce(equal))
        return places

    def _found(
        self, first: int, end: int, columns: Sequence[str], values: Mapping[str, str]
    ) -> list[tuple[Any, ...]]:
        """These columns of the rows from one place in time up to another, in order of time."""
        if first >= end:
            return []
        ends = (float(self._times[first]), float(self._times[end - 1]))
        equal = "".join(f" AND {name} = ?" for name in values)
        wanted = f"rowid BETWEEN ? AND ? AND {self._columns[0]} BETWEEN ? AND ?{equal}"
        found: list[tuple[Any, ...]] = []
        for places in _neighbours(np.sort(self._places[first:end])):
            limits = [int(places[0]), int(places[-1]), *ends, *values.values()]
            found += self._select(",".join(columns), wanted, limits)
        found.sort(key=itemgetter(0))
        return found

    def _rows(self, first: int, end: int) -> list[T]:
        found = self._found(first, end, self._columns, {})
        times = [values[0] for values in found]
        rows = self._build(found)
        # Rows of one time are rare; to put them in order costs more than to read them.
        return in_time_order(rows) if any(map(eq, times, times[1:])) else rows

    def _select(self, columns: str, wanted: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        try:
            found = self._file.db.execute(f"SELECT {columns} FROM {self._table} WHERE {wanted}", values)
            while block := found.fetchmany(_BLOCK):
                yield from block
        except sqlite3.Error as error:
            raise ValueError(f"table {self._table} is unreadable: {error}") from error


def _neighbours(places: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Sorted places in groups. Between two groups lie so many rows that it is faster to skip them than to read them."""
    return np.split(places, np.flatnonzero(np.diff(places) > _SKIP) + 1)


def _present(db: sqlite3.Connection, table: str) -> list[str]:
    """The columns to read; one that was added later is absent from an older run, and its field has a default."""
    there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
    return [name for name in columns_of(table) if name in there or name not in ADDED.get(table, ())]


def _require_types(db: sqlite3.Connection, table: str, row_type: type[Any], columns: Sequence[str]) -> None:
    hints = get_type_hints(row_type)
    strange = " OR ".join(_strange(hints[column], column) for column in columns)
    if odd := db.execute(f"SELECT count(*) FROM {table} WHERE {strange}").fetchone()[0]:
        raise ValueError(f"{odd} rows hold a value of another type than their column")
    if "layer" in columns:
        known = ",".join(map(repr, _LAYERS))
        odd = db.execute(
            f"SELECT layer FROM {table} WHERE layer NOT IN ({known}) ORDER BY {columns[0]}, rowid"
        )
        if (first := odd.fetchone()) is not None:
            raise ValueError(f"{first[0]!r} is not a valid Layer")


def _strange(hint: Any, column: str) -> str:
    """The SQL condition for a value that the field of this name cannot have."""
    stored = [name for possible in get_args(hint) or (hint,) for name in _STORED[possible]]
    return f"typeof({column}) NOT IN ({','.join(map(repr, stored))})"


def _builder(row_type: type[Any], columns: Sequence[str]) -> Callable[[list[tuple[Any, ...]]], list[Any]]:
    """A function that makes rows from the values of these columns."""
    in_order = list(row_type.__slots__[: len(columns)]) == list(columns)

    def build(found: list[tuple[Any, ...]]) -> list[Any]:
        found = _converted(columns, found)
        if in_order:
            return list(starmap(row_type, found))
        return [row_type(**dict(zip(columns, values, strict=True))) for values in found]

    return build


def _converted(columns: Sequence[str], found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Stored values of these columns as the fields of a row have them."""
    places = [(n, _FIELD_OF[name]) for n, name in enumerate(columns) if name in _FIELD_OF]
    if not places or not found:
        return found
    by_column = [list(values) for values in zip(*found, strict=True)]
    for place, convert in places:
        by_column[place] = list(map(convert, by_column[place]))
    return list(zip(*by_column, strict=True))


def _read_through(
    db: sqlite3.Connection, table: str, columns: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64], dict[str, NumbersReader | WordsReader]]:
    """The time and the place of every row, float64[n] and int64[n], and the columns to hold.

    All text is read too, held or not, as a check.
    """
    hints = get_type_hints(SCHEMA[table][0])
    text = [name for name in columns[1:] if str in (hints[name], *get_args(hints[name]))]
    numbers = [name for name in _HELD.get(table, ()) if name not in text]
    names = [*text, *numbers]
    readers = {name: WordsReader() if name in text else NumbersReader() for name in _HELD.get(table, ())}
    times, places = array("d"), array("q")
    cursor = db.execute(f"SELECT {','.join([columns[0], *names])},rowid FROM {table}")
    while block := cursor.fetchmany(_BLOCK):
        times.extend(map(itemgetter(0), block))
        places.extend(map(itemgetter(-1), block))
        for name, reader in readers.items():
            reader.extend(map(itemgetter(1 + names.index(name)), block))
    return np.array(times, dtype=np.float64), np.array(places, dtype=np.int64), readers
