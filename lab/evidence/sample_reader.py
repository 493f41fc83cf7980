"""Reads `samples.sqlite` without changing it."""

import shutil
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lab.evidence.sample_tables import SCHEMA
from lab.evidence.stored_stream import SampleFile, StoredStream
from lab.model.plan import USUAL_STREAMS
from lab.model.samples import Samples


def read_samples(path: Path, streams: Collection[str] = USUAL_STREAMS) -> tuple[Samples, list[str]]:
    """All tables, and what could not be read; nothing is written beside the file.

    The file stays open as long as the samples are used, for their rows are read where they are needed. A table that is
    absent is damage only where `streams`, what the run was to record, names it.
    """
    if not path.is_file():
        return Samples(), [f"{path.name} is missing"]
    log = path.with_name(f"{path.name}-wal")
    try:
        if log.is_file() and log.stat().st_size:
            return _read_killed(path, log, streams)
        return _read(SampleFile(_unchanged(path)), path.name, streams)
    except OSError as error:
        # The name of the copy is left out, because it differs each time.
        return Samples(), [f"{path.name} is unreadable: {error.strerror or type(error).__name__}"]
    except sqlite3.Error as error:
        return Samples(), [f"{path.name} is unreadable: {error}"]


def _unchanged(path: Path) -> sqlite3.Connection:
    """The file, opened so that SQLite neither changes it nor looks for a log beside it."""
    # Whichever thread drops the last stream closes the file.
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, check_same_thread=False)


def _read_killed(path: Path, log: Path, streams: Collection[str]) -> tuple[Samples, list[str]]:
    """Read what a killed writer left. SQLite recovers its log, which changes the files, so this works on copies.

    The copy is deleted at once; what is open of it stays readable.
    """
    with TemporaryDirectory(prefix="lab-samples-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        shutil.copyfile(log, copy.with_name(log.name))
        with closing(sqlite3.connect(copy)) as db:
            # SQLite opens the log only for a statement that reads. The second statement returns how much of it is
            # valid.
            db.execute("PRAGMA schema_version").fetchone()
            _, frames, _ = db.execute("PRAGMA wal_checkpoint").fetchone()
        samples, damage = _read(SampleFile(_unchanged(copy)), path.name, streams)
    if frames <= 0:
        damage.append(f"{log.name} holds nothing that can be recovered")
    return samples, damage


def _read(file: SampleFile, name: str, streams: Collection[str]) -> tuple[Samples, list[str]]:
    damage: list[str] = []
    there = {row[0] for row in file.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    tables: dict[str, StoredStream[Any]] = {}
    for table in SCHEMA:
        if table not in there and table not in streams:
            continue
        try:
            tables[table] = StoredStream(file, table)
        except (sqlite3.Error, ValueError, TypeError) as error:
            damage.append(f"{name}, table {table}: {error}")
    return Samples(**tables), damage
