"""`samples.sqlite`: every sample table of a run, written by one thread, read back immutable.

The column names are a contract (see docs/run-directory.md); columns may be added, never renamed.
"""

import queue
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lab.errors import WorldError
from lab.model.samples import HostReading, Layer, Memory, Probe, Recall, Request, Samples

Row = Request | Probe | Recall | Memory | HostReading

_SCHEMA: dict[str, tuple[type[Any], str]] = {
    "requests": (
        Request,
        (
            "scheduled_ms REAL, sent_ms REAL, done_ms REAL, op TEXT, ok INTEGER, layer TEXT, message TEXT,"
            " source TEXT, sessions_lost INTEGER"
        ),
    ),
    "probes": (Probe, "sent_ms REAL, done_ms REAL, probe TEXT, outcome TEXT, detail TEXT, hits INTEGER, k INTEGER"),
    "recall": (
        Recall,
        (
            "sent_ms REAL, done_ms REAL, mode TEXT, query_id TEXT, answered INTEGER, hits INTEGER, k INTEGER,"
            " layer TEXT, message TEXT"
        ),
    ),
    "memory": (Memory, "at_ms REAL, container TEXT, process TEXT, metric TEXT, bytes INTEGER"),
    "host": (HostReading, "at_ms REAL, metric TEXT, value REAL"),
}
# The ledger of writes is part of the contract; nothing fills it yet.
_EMPTY_TABLES = (
    "CREATE TABLE IF NOT EXISTS writes(doc_id TEXT, sent_ms REAL, acked_ms REAL, read_back TEXT, state TEXT)",
)
_TABLE_OF = {cls: name for name, (cls, _) in _SCHEMA.items()}
_ADDED = {"probes": ("hits", "k")}
_COMMIT_EVERY_S = 1.0


def _columns(table: str) -> list[str]:
    return [column.split()[0] for column in _SCHEMA[table][1].split(",")]


def _values(row: Row, columns: Sequence[str]) -> list[Any]:
    values = [getattr(row, column) for column in columns]
    return [value.value if isinstance(value, Layer) else value for value in values]


class SampleStore:
    """Takes rows from any thread and writes them about once a second; implements `lab.ports.Sink`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[list[Row] | None] = queue.SimpleQueue()
        self._error: sqlite3.Error | None = None
        self._written = dict.fromkeys(_SCHEMA, 0)
        self._thread = threading.Thread(target=self._write, name="sample-store", daemon=True)
        self._thread.start()

    def add(self, rows: Iterable[Row]) -> None:
        """Hand rows over; they are on disk within about a second."""
        self._queue.put(list(rows))

    def died(self) -> list[tuple[str, str]]:
        """Why the writer stopped, if it did."""
        return [("sample_store", str(self._error))] if self._error else []

    def close(self) -> dict[str, int]:
        """Write what is left and return the rows written by table; raises WorldError if any write failed."""
        self._queue.put(None)
        self._thread.join(timeout=60)
        if self._error is not None:
            raise WorldError(
                "the samples could not all be written, so this run proves nothing",
                where=str(self._path),
                last_state=str(self._error),
                try_="free disk space, then run again",
            )
        return dict(self._written)

    def _write(self) -> None:
        try:
            with sqlite3.connect(self._path) as db:
                db.execute("PRAGMA journal_mode=WAL")
                for table, (_, columns) in _SCHEMA.items():
                    db.execute(f"CREATE TABLE IF NOT EXISTS {table}({columns})")
                for statement in _EMPTY_TABLES:
                    db.execute(statement)
                db.commit()
                while self._write_batch(db):
                    pass
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.close()
        except sqlite3.Error as error:
            self._error = error

    def _write_batch(self, db: sqlite3.Connection) -> bool:
        rows = self._queue.get()
        more = rows is not None
        for row in rows or []:
            table = _TABLE_OF[type(row)]
            columns = _columns(table)
            marks = ",".join("?" * len(columns))
            db.execute(f"INSERT INTO {table}({','.join(columns)}) VALUES ({marks})", _values(row, columns))
            self._written[table] += 1
        db.commit()
        return more


def read_samples(path: Path) -> tuple[Samples, list[str]]:
    """All tables in time order, and what could not be read; the file is opened immutable, so nothing is written."""
    if not path.is_file():
        return Samples(), [f"{path.name} is missing"]
    damage: list[str] = []
    tables: dict[str, tuple[Any, ...]] = {}
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        for table, (cls, _) in _SCHEMA.items():
            try:
                tables[table] = _read_table(db, table, cls)
            except (sqlite3.Error, ValueError, TypeError) as error:
                damage.append(f"{path.name}, table {table}: {error}")
                tables[table] = ()
    finally:
        db.close()
    return Samples(**tables), damage


def _read_table(db: sqlite3.Connection, table: str, cls: type[Any]) -> tuple[Any, ...]:
    # A column that was added later is absent from an older run, and its field has a default.
    there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
    columns = [name for name in _columns(table) if name in there or name not in _ADDED.get(table, ())]
    rows = db.execute(f"SELECT {','.join(columns)} FROM {table} ORDER BY {columns[0]}, rowid")
    return tuple(cls(**_typed(dict(zip(columns, row, strict=True)))) for row in rows)


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("ok", "answered"):
        if name in row:
            row[name] = bool(row[name])
    if "layer" in row:
        row["layer"] = Layer(row["layer"])
    return row
