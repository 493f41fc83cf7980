"""`samples.sqlite`: every sample table of a run, written by one thread, read back without a change to it.

The column names are a contract (see docs/run-directory.md); columns may be added, never renamed.
"""

import queue
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import Any, get_args, get_type_hints

from lab.errors import WorldError
from lab.model.encodable import encodable
from lab.model.plan import USUAL_STREAMS
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
    "probes": (
        Probe,
        "sent_ms REAL, done_ms REAL, probe TEXT, outcome TEXT, detail TEXT, hits INTEGER, k INTEGER",
    ),
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
# What SQLite calls a value of each Python type. A whole number and a real one are both numbers to a judge.
_NUMBER, _TEXT = ("integer", "real"), ("text",)
_STORED: dict[Any, tuple[str, ...]] = {
    float: _NUMBER,
    int: _NUMBER,
    bool: _NUMBER,
    str: _TEXT,
    Layer: _TEXT,
    NoneType: ("null",),
}
# A row of another class, a number beyond 64 bits, a full disk: whatever a batch can fail with.
_FAILURES = (sqlite3.Error, OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


def _columns(table: str) -> list[str]:
    return [column.split()[0] for column in _SCHEMA[table][1].split(",")]


def _values(row: Row, columns: Sequence[str]) -> list[Any]:
    values = [getattr(row, column) for column in columns]
    return [_storable(value) for value in values]


def _storable(value: Any) -> Any:
    if isinstance(value, Layer):
        return value.value
    return encodable(value) if isinstance(value, str) else value


class SampleStore:
    """Takes rows from any thread and writes them about once a second; implements `lab.ports.Sink`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[list[Row] | None] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._finished = False
        self._lock = threading.Lock()
        self._handed = Counter(dict.fromkeys(_SCHEMA, 0))
        self._thread = threading.Thread(target=self._write, name="sample-store", daemon=True)
        self._thread.start()

    def add(self, rows: Iterable[Row]) -> None:
        """Hand rows over; they are on disk within about a second."""
        batch = list(rows)
        tables = [_TABLE_OF[type(row)] for row in batch]
        with self._lock:
            self._handed.update(tables)
        self._queue.put(batch)

    def died(self) -> list[tuple[str, str]]:
        """Why the writer stopped, if it did."""
        why = self._failure()
        return [("sample_store", why)] if why else []

    def close(self, timeout_s: float = 60.0) -> dict[str, int]:
        """Write what is left and return the rows handed over by table, so that one that was lost is missed.

        Raises WorldError if any write failed, or if the writer has not ended in time.
        """
        self._queue.put(None)
        self._thread.join(timeout_s)
        why = f"still writing after {timeout_s:g} s" if self._thread.is_alive() else self._failure()
        if why:
            raise WorldError(
                "the samples could not all be written, so this run proves nothing",
                where=str(self._path),
                last_state=why,
                try_="free disk space, then run again",
            )
        return dict(self._handed)

    def _failure(self) -> str:
        """Why the writer is no longer there although nobody closed the store; empty where it is, or was closed."""
        if self._error is not None:
            return f"{type(self._error).__name__}: {self._error}"
        # The flag is set before the thread ends, so it is looked at last.
        return "" if self._thread.is_alive() or self._finished else "the writing thread ended"

    def _write(self) -> None:
        try:
            with closing(sqlite3.connect(self._path)) as db, db:
                db.execute("PRAGMA journal_mode=WAL")
                for table, (_, columns) in _SCHEMA.items():
                    db.execute(f"CREATE TABLE IF NOT EXISTS {table}({columns})")
                for statement in _EMPTY_TABLES:
                    db.execute(statement)
                db.commit()
                while self._write_batch(db):
                    pass
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._finished = True
        except _FAILURES as error:
            self._error = error

    def _write_batch(self, db: sqlite3.Connection) -> bool:
        rows = self._queue.get()
        more = rows is not None
        for row in rows or []:
            table = _TABLE_OF[type(row)]
            columns = _columns(table)
            marks = ",".join("?" * len(columns))
            db.execute(f"INSERT INTO {table}({','.join(columns)}) VALUES ({marks})", _values(row, columns))
        db.commit()
        return more


def read_samples(path: Path, streams: Collection[str] = USUAL_STREAMS) -> tuple[Samples, list[str]]:
    """All tables in time order, and what could not be read; nothing is written beside the file.

    A table that is absent is damage only where `streams`, what the run was to record, names it.
    """
    if not path.is_file():
        return Samples(), [f"{path.name} is missing"]
    log = path.with_name(f"{path.name}-wal")
    try:
        if log.is_file() and log.stat().st_size:
            return _read_killed(path, log, streams)
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            return _read(db, path.name, streams)
    except OSError as error:
        # Without the name of the copy, which is another one each time.
        return Samples(), [f"{path.name} is unreadable: {error.strerror or type(error).__name__}"]
    except sqlite3.Error as error:
        return Samples(), [f"{path.name} is unreadable: {error}"]


def _read_killed(path: Path, log: Path, streams: Collection[str]) -> tuple[Samples, list[str]]:
    """What a writer that was killed has left: SQLite recovers its log, which changes the files, so copies of them."""
    with TemporaryDirectory(prefix="lab-samples-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        shutil.copyfile(log, copy.with_name(log.name))
        with closing(sqlite3.connect(copy)) as db:
            # A statement that reads makes SQLite look at the log at all; the second tells how much of it is valid.
            db.execute("PRAGMA schema_version").fetchone()
            _, frames, _ = db.execute("PRAGMA wal_checkpoint").fetchone()
            samples, damage = _read(db, path.name, streams)
    if frames <= 0:
        damage.append(f"{log.name} holds nothing that can be recovered")
    return samples, damage


def _read(db: sqlite3.Connection, name: str, streams: Collection[str]) -> tuple[Samples, list[str]]:
    damage: list[str] = []
    there = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    tables: dict[str, tuple[Any, ...]] = {}
    for table, (cls, _) in _SCHEMA.items():
        if table not in there and table not in streams:
            continue
        try:
            tables[table] = _read_table(db, table, cls)
        except (sqlite3.Error, ValueError, TypeError) as error:
            damage.append(f"{name}, table {table}: {error}")
            tables[table] = ()
    return Samples(**tables), damage


def _read_table(db: sqlite3.Connection, table: str, cls: type[Any]) -> tuple[Any, ...]:
    # A column that was added later is absent from an older run, and its field has a default.
    there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
    columns = [name for name in _columns(table) if name in there or name not in _ADDED.get(table, ())]
    strange = " OR ".join(_strange(cls, column) for column in columns)
    if odd := db.execute(f"SELECT count(*) FROM {table} WHERE {strange}").fetchone()[0]:
        raise ValueError(f"{odd} rows hold a value of another type than their column")
    rows = db.execute(f"SELECT {','.join(columns)} FROM {table} ORDER BY {columns[0]}, rowid")
    return tuple(cls(**_typed(dict(zip(columns, row, strict=True)))) for row in rows)


def _strange(cls: type[Any], column: str) -> str:
    """The SQL condition that a value is none that the field of this name can have."""
    hint = get_type_hints(cls)[column]
    stored = [name for one in get_args(hint) or (hint,) for name in _STORED[one]]
    return f"typeof({column}) NOT IN ({','.join(map(repr, stored))})"


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("ok", "answered"):
        if name in row:
            row[name] = bool(row[name])
    if "layer" in row:
        row["layer"] = Layer(row["layer"])
    return row
