"""Reads `samples.sqlite` back, without a change to it."""

import shutil
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import Any, get_args, get_type_hints

from lab.evidence.sample_tables import ADDED, SCHEMA, columns_of
from lab.model.plan import USUAL_STREAMS
from lab.model.samples import Layer, Samples

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
    for table, (cls, _) in SCHEMA.items():
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
    columns = [name for name in columns_of(table) if name in there or name not in ADDED.get(table, ())]
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
