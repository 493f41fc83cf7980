"""The sample tables as a file: a killed writer's rows are read, half a character stops nobody, what is lost is told."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import WorldError
from lab.evidence import sample_store
from lab.evidence.sample_reader import read_samples
from lab.evidence.sample_store import SampleStore
from lab.model.samples import TABLES, HostReading, Layer, Memory, Probe, Recall, Request

HOME = Path(__file__).resolve().parents[2]
LOG = "samples.sqlite-wal"
HALF = "bad \ud83d"
# Writes rows in two batches, waits until the first is committed, and is then killed by itself.
DIES = """
import os, signal, sqlite3, sys, time
from pathlib import Path
from lab.evidence.sample_store import SampleStore
from lab.model.samples import Probe
path = Path(sys.argv[1])
store = SampleStore(path)
store.add([Probe(float(n), n + 1.0, "list", "ok", "") for n in range(100)])
until = time.monotonic() + 20
while time.monotonic() < until:
    time.sleep(0.02)
    try:
        if sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute("SELECT count(*) FROM probes").fetchone()[0]:
            break
    except sqlite3.Error:
        pass
os.kill(os.getpid(), signal.SIGKILL)
"""


def probe(at_ms: float, detail: str = "") -> Probe:
    return Probe(at_ms, at_ms + 1, "list", "ok", detail)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a writer has left that was killed with 100 probes committed and its file not closed."""
    path = tmp_path_factory.mktemp("killed") / "samples.sqlite"
    done = subprocess.run([sys.executable, "-B", "-c", DIES, str(path)], cwd=HOME, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.with_name(LOG).stat().st_size
    return path


@pytest.fixture
def left(killed: Path, tmp_path: Path) -> Path:
    for name in ("samples.sqlite", LOG):
        (tmp_path / name).write_bytes((killed.parent / name).read_bytes())
    return tmp_path / "samples.sqlite"


def test_a_killed_writers_rows_are_read_and_its_files_stay_as_they_are(killed: Path) -> None:
    before = digests(killed.parent)
    first, again = read_samples(killed), read_samples(killed)
    assert first == again
    assert [row.sent_ms for row in first[0].probes] == list(range(100)) and not first[1]
    assert digests(killed.parent) == before
    # The control: without its log the file holds no row, so the log is what was read.
    with closing(sqlite3.connect(f"{killed.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
        assert not db.execute("SELECT name FROM sqlite_master").fetchall()


def test_reading_needs_no_right_to_write(left: Path) -> None:
    for path in left.parent.iterdir():
        path.chmod(0o400)
    left.parent.chmod(0o500)
    try:
        assert len(read_samples(left)[0].probes) == 100
    finally:
        left.parent.chmod(0o700)


@pytest.mark.parametrize(
    "garbage", [b"x", b"\0" * 5000, os.urandom(100_000), b"\x37\x7f\x06\x82" + b"\xff" * 9000]
)
def test_a_log_of_garbage_is_named(left: Path, garbage: bytes) -> None:
    left.with_name(LOG).write_bytes(garbage)
    before = digests(left.parent)
    samples, damage = read_samples(left)
    assert not samples.probes and f"{LOG} holds nothing that can be recovered" in damage
    assert read_samples(left) == (samples, damage) and digests(left.parent) == before


@pytest.mark.parametrize("part", range(12))
def test_a_torn_log_gives_fewer_rows_or_damage(left: Path, part: int) -> None:
    log = left.with_name(LOG)
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) * part // 12])
    samples, damage = read_samples(left)
    assert len(samples.probes) == 100 or damage or not samples.probes
    flipped = bytearray(whole)
    flipped[len(whole) * part // 12] ^= 0xFF
    log.write_bytes(flipped)
    samples, damage = read_samples(left)
    assert len(samples.probes) in (0, 100)


@pytest.mark.parametrize("part", range(12))
def test_a_damaged_file_is_named_or_read(tmp_path: Path, part: int) -> None:
    path = tmp_path / "samples.sqlite"
    store = SampleStore(path)
    store.add([probe(float(n), "x" * 50) for n in range(500)])
    store.close()
    assert not path.with_name(LOG).exists()
    whole = bytearray(path.read_bytes())
    at = len(whole) * part // 12
    whole[at : at + 700] = b"\xff" * len(whole[at : at + 700])
    path.write_bytes(whole)
    samples, damage = read_samples(path)
    assert damage or len(samples.probes) <= 500


@pytest.mark.parametrize("log", [b"", b"garbage"])
def test_a_file_that_is_no_database_is_named(tmp_path: Path, log: bytes) -> None:
    path = tmp_path / "samples.sqlite"
    path.write_bytes(b"no database at all" * 99)
    path.with_name(LOG).write_bytes(log)
    samples, damage = read_samples(path)
    assert not any(samples.counts().values())
    assert damage and all("not a database" in one for one in damage)
    assert str(tmp_path) not in "".join(damage)


@pytest.mark.parametrize("value", ["NULL", "'late'", "x'ff'"])
def test_a_value_of_another_type_is_named(tmp_path: Path, value: str) -> None:
    path = tmp_path / "samples.sqlite"
    store = SampleStore(path)
    store.add([probe(1.0), HostReading(1.0, "lab_cpu_s", 2.0), Memory(1.0, "mcp", None, "anon_bytes", 3)])
    store.close()
    assert read_samples(path)[1] == []
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"UPDATE probes SET sent_ms = {value}")
    samples, damage = read_samples(path)
    assert damage == ["samples.sqlite, table probes: 1 rows hold a value of another type than their column"]
    assert not samples.probes and len(samples.host) == len(samples.memory) == 1


def test_half_a_character_is_replaced_and_all_rows_are_kept(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "samples.sqlite")
    store.add([probe(1.0, HALF), Recall(1.0, None, "dense", "q", False, 0, 10, Layer.IS_ERROR, HALF)])
    store.add([probe(2.0, "whole \U0001f600"), probe(3.0)])
    nothing = {"requests": 0, "memory": 0, "host": 0, "traffic": 0}
    assert store.close() == {"probes": 3, "recall": 1, **nothing}
    assert not store.died()
    samples, damage = read_samples(tmp_path / "samples.sqlite")
    assert [row.detail for row in samples.probes] == ["bad \ufffd", "whole \U0001f600", ""] and not damage
    assert next(iter(samples.recall)).message == "bad \ufffd"


@pytest.mark.parametrize("why", [UnicodeError("no such text"), OSError("gone"), sqlite3.Error("locked")])
def test_whatever_the_writer_dies_of_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: Exception
) -> None:
    def fail(value: object) -> object:
        raise why

    store = SampleStore(tmp_path / "samples.sqlite")
    assert store.died() == []
    monkeypatch.setattr(sample_store, "_storable", fail)
    store.add([probe(1.0)])
    wait_until(store.died)
    ((sampler, said),) = store.died()
    assert sampler == "sample_store" and said.startswith(type(why).__name__) and said.endswith(f": {why}")
    with pytest.raises(WorldError, match=str(why)):
        store.close()


def test_a_number_beyond_64_bits_is_said(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "samples.sqlite")
    store.add([Memory(1.0, "mcp", None, "anon_bytes", 1 << 70)])
    wait_until(store.died)
    assert "OverflowError" in store.died()[0][1]
    with pytest.raises(WorldError):
        store.close()


def test_a_death_that_nobody_foresaw_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(value: object) -> object:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(sample_store, "_storable", fail)
    store = SampleStore(tmp_path / "samples.sqlite")
    store.add([probe(1.0)])
    wait_until(store.died)
    with pytest.raises(WorldError, match=r"RuntimeError at lab/evidence/sample_store.py:.*unforeseen"):
        store.close()


def test_a_writer_that_does_not_end_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(sample_store, "_storable", lambda value: go_on.wait(20) and value)
    store = SampleStore(tmp_path / "samples.sqlite")
    store.add([probe(1.0)])
    with pytest.raises(WorldError, match="still writing after"):
        store.close(timeout_s=0.05)
    go_on.set()
    assert store.close()["probes"] == 1


def test_rows_are_counted_as_they_are_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that loses rows and does not know it is told from the table, which then holds fewer."""
    write = SampleStore._write_batch

    class Forgetful:
        def __init__(self, db: sqlite3.Connection) -> None:
            self.commit = db.commit

        def executemany(self, *_: object) -> None: ...

    monkeypatch.setattr(SampleStore, "_write_batch", lambda store, db: write(store, Forgetful(db)))  # type: ignore[arg-type]
    store = SampleStore(tmp_path / "samples.sqlite")

    def add_rows() -> None:
        for _ in range(200):
            store.add([probe(1.0)])

    threads = [threading.Thread(target=add_rows) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.close()["probes"] == 1600
    assert read_samples(tmp_path / "samples.sqlite")[0].counts()["probes"] == 0
    assert not store.died()


def test_rows_are_committed_in_batches_of_half_a_second(tmp_path: Path) -> None:
    """Two hundred hands-over within a moment are few commits, and each row is on disk within a second."""
    path = tmp_path / "samples.sqlite"
    commits: list[float] = []

    class Counting(sqlite3.Connection):
        def commit(self) -> None:
            commits.append(time.monotonic())
            super().commit()

    connect = sqlite3.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda path: connect(path, factory=Counting))
        store = SampleStore(path)
        wait_until(lambda: commits)
    tables = len(commits)
    began = time.monotonic()
    for n in range(200):
        store.add([probe(float(n))])
    wait_until(lambda: rows_in(path) == 200)
    assert time.monotonic() - began < 5
    assert 1 <= len(commits) - tables <= 4
    assert store.close()["probes"] == 200


def rows_in(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM probes").fetchone()[0])


def test_a_process_is_told_from_the_next_one_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "samples.sqlite"
    first = Memory(1.0, "mcp", "python", "rss_bytes", 3, 17, 1000.5)
    rows = [first, replace(first, at_ms=2.0), replace(first, at_ms=3.0, pid=18, started=2000.25)]
    store = SampleStore(path)
    store.add([*rows, Memory(1.0, "mcp", None, "anon_bytes", 9)])
    store.close()
    samples, damage = read_samples(path)
    assert not damage and sorted(map(repr, samples.memory)) == sorted(
        map(repr, [*rows, Memory(1.0, "mcp", None, "anon_bytes", 9)])
    )
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("ALTER TABLE memory DROP COLUMN pid")
        db.execute("ALTER TABLE memory DROP COLUMN started")
    older, damage = read_samples(path)
    assert not damage and {(row.pid, row.started) for row in older.memory} == {(None, None)}


def test_hits_of_a_request_are_kept_and_older_runs_have_none(tmp_path: Path) -> None:
    path = tmp_path / "samples.sqlite"
    plain = Request(0.0, 1.0, 5.0, "search", True, Layer.OK, "", "0000", 0, "0000-0-search")
    rows = [replace(plain, hits=0, k=10, query_id="q1"), replace(plain, scheduled_ms=9.0)]
    store = SampleStore(path)
    store.add(rows)
    store.close()
    samples, damage = read_samples(path)
    assert not damage and list(samples.requests) == rows
    with closing(sqlite3.connect(path)) as db, db:
        for column in ("query_id", "k", "hits", "id"):
            db.execute(f"ALTER TABLE requests DROP COLUMN {column}")
            older, damage = read_samples(path)
            assert not damage and {row.hits for row in older.requests} <= {None, 0}
    assert {(row.hits, row.k, row.query_id, row.id) for row in older.requests} == {(None, None, None, None)}


@pytest.mark.parametrize("table", TABLES)
def test_a_window_without_a_row_is_empty(tmp_path: Path, table: str) -> None:
    path = tmp_path / "samples.sqlite"
    SampleStore(path).close()
    samples, damage = read_samples(path)
    assert not damage
    assert list(getattr(samples, table).between(0.0, 1e9)) == []
