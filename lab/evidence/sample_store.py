"""Writes `samples.sqlite`: every sample table of a run, in batches, by one thread.

A row is committed at most about a second after it was handed over: at most `BATCH_S` until its batch begins to be
written, and the time that the writing takes. So a lab that is killed loses at most the last second of rows. A machine
that loses power can lose more, because `synchronous=NORMAL` forces rows to disk only at a checkpoint; the file stays
consistent either way.
"""

import queue
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from lab.boundary import Caught, attempt
from lab.errors import WorldError
from lab.evidence.sample_tables import EMPTY_TABLES, SCHEMA, TABLE_OF, Row, columns_of
from lab.model.encodable import encodable
from lab.model.samples import Layer

# For how long rows are collected before they are written together.
BATCH_S = 0.5
# The errors that writing a batch can raise: a row of another class, a number beyond 64 bits, a full disk.
_FAILURES = (sqlite3.Error, OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


def _values(row: Row, columns: Sequence[str]) -> list[Any]:
    values = [getattr(row, column) for column in columns]
    return [_storable(value) for value in values]


def _storable(value: Any) -> Any:
    if isinstance(value, Layer):
        return value.value
    return encodable(value) if isinstance(value, str) else value


class SampleStore:
    """Takes rows from any thread and writes them in batches; implements `lab.ports.Sink`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[list[Row] | None] = queue.SimpleQueue()
        self._failed = ""
        self._finished = False
        self._lock = threading.Lock()
        self._handed = Counter(dict.fromkeys(SCHEMA, 0))
        self._thread = threading.Thread(target=self._write, name="sample-store", daemon=True)
        self._thread.start()

    def add(self, rows: Iterable[Row]) -> None:
        """Hand rows over; they are committed within about a second."""
        batch = list(rows)
        tables = [TABLE_OF[type(row)] for row in batch]
        with self._lock:
            self._handed.update(tables)
        self._queue.put(batch)

    def died(self) -> list[tuple[str, str]]:
        """Why the writer stopped, if it did."""
        why = self._failure()
        return [("sample_store", why)] if why else []

    def close(self, timeout_s: float = 60.0) -> dict[str, int]:
        """Write the remaining rows; returns the number of rows handed over by table, to detect lost rows.

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
        """Why the writer ended although nobody closed the store; empty where it runs, or was closed."""
        if self._failed:
            return self._failed
        # The thread sets the flag before it ends, so the flag is read last.
        return "" if self._thread.is_alive() or self._finished else "the writing thread ended"

    def _write(self) -> None:
        ended = attempt(self._write_all)
        if isinstance(ended, Caught):
            self._failed = str(ended)
        else:
            self._finished = True

    def _write_all(self) -> None:
        with closing(sqlite3.connect(self._path)) as db, db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            for table, (_, columns) in SCHEMA.items():
                db.execute(f"CREATE TABLE IF NOT EXISTS {table}({columns})")
            for statement in EMPTY_TABLES:
                db.execute(statement)
            db.commit()
            while self._write_batch(db):
                pass
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _write_batch(self, db: sqlite3.Connection) -> bool:
        """Collect rows for a while and commit them together; False once the store was closed."""
        rows, more = self._collect()
        values: dict[str, list[list[Any]]] = defaultdict(list)
        columns = {table: columns_of(table) for table in SCHEMA}
        for row in rows:
            table = TABLE_OF[type(row)]
            values[table].append(_values(row, columns[table]))
        for table, lines in values.items():
            marks = ",".join("?" * len(columns[table]))
            db.executemany(f"INSERT INTO {table}({','.join(columns[table])}) VALUES ({marks})", lines)
        db.commit()
        return more

    def _collect(self) -> tuple[list[Row], bool]:
        """The rows of the next batch, and whether more may come."""
        first = self._queue.get()
        if first is None:
            return [], False
        rows, until_s = first, time.monotonic() + BATCH_S
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                more = self._queue.get(timeout=left_s)
            except queue.Empty:
                break
            if more is None:
                return rows, False
            rows += more
        return rows, True
