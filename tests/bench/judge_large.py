"""How long it takes, and how much memory, to judge a run with 4 million probes and 24 h of memory readings.

    python -m tests.bench.judge_large [--probes 4000000] [--hours 24] [--witnesses canary load truth] [--keep FOLDER]

The rows are synthetic: a healthy target that is down in each `kill`. The run directory is judged in a process of its
own, whose peak of resident memory is printed beside the seconds for reading, judging and writing the reports.
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np

from lab.evidence import run_directory
from lab.evidence.sample_store import SampleStore
from lab.evidence.sample_tables import columns_of
from lab.model.journal import Event
from lab.model.samples import Samples
from tests.pure import evidence_factory as factory

CHUNK_MS, MEMORY_SERIES, MEMORY_EVERY_MS = 60_000.0, 20, 5000.0
JUDGE = """
import json, resource, sys, time
from pathlib import Path
began = time.monotonic()
from lab.evidence import run_directory
from lab.judge import judge
from lab.report import report_json
imported = time.monotonic()
evidence = run_directory.read_evidence(Path(sys.argv[1]))
read = time.monotonic()
judgement = judge(evidence)
judged = time.monotonic()
text = report_json.dumps(report_json.build(evidence, judgement))
done = time.monotonic()
undecided = [f for f in judgement.findings if f.verdict.value == "inconclusive"]
print(json.dumps({
    "rows": evidence.samples.counts(), "faults": len(evidence.plan.faults()), "findings": len(judgement.findings),
    "verdict": judgement.verdict.value, "coverage": round(judgement.coverage, 3), "report_bytes": len(text),
    "read_s": round(read - imported, 1), "judge_s": round(judged - read, 1), "report_s": round(done - judged, 1),
    "all_s": round(done - began, 1), "cpu_s": round(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), 1),
    "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    "undecided": [f"{f.check}/{f.subject}: {f.reason}"[:160] for f in undecided[:5]],
}))
"""


def make(folder: Path, probes: int, hours: float, witnesses: tuple[str, ...]) -> Path:
    """A run directory of that many hours with that many canary probes."""
    recipe = factory.Recipe(
        faults=("latency", "kill", "cpu_cap") * max(1, round(hours * 3600 / 104 / 3)), witnesses=witnesses
    )
    plan = factory._plan(recipe)
    steps = list(factory._timed(plan, recipe))
    end_ms = steps[-1].to_ms
    down = [
        (timed.injecting_ms + 50, timed.healing_ms + 1200)
        for timed in steps
        if timed.step.faults and timed.step.faults[0].kind == "kill"
    ]
    run = run_directory.create(folder, "soak")
    digest = run_directory.write_plan(run, plan)
    SampleStore(run / "samples.sqlite").close()
    with closing(sqlite3.connect(run / "samples.sqlite")) as db, db:
        counts = {
            table: _insert(db, table, rows)
            for table, rows in {
                "requests": _requests(end_ms),
                "probes": _probes(end_ms, probes, down),
                "recall": _recall(end_ms, down),
                "memory": _memory(end_ms),
                "host": _host(end_ms),
                "traffic": map(astuple, factory._traffic(steps, end_ms)),
            }.items()
        }
    journal = factory._journal(recipe, plan, steps, Samples())
    events = sorted([*journal, *_chunks(journal.events[0], end_ms)], key=lambda event: event.at_ms)
    with (run / "journal.jsonl").open("w") as file:
        for seq, event in enumerate(events):
            file.write(json.dumps(_completed(event, seq, counts, digest).to_json()) + "\n")
    return run


def _completed(event: Event, seq: int, counts: dict[str, int], digest: str) -> Event:
    data = dict(event.data)
    if event.kind == "run_started":
        data["plan_sha256"] = digest
    if event.kind == "run_ended":
        data |= {"rows": counts, "last_seq": seq}
    return replace(event, seq=seq, data=data)


def _insert(db: sqlite3.Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> int:
    columns = columns_of(table)
    marks = ",".join("?" * len(columns))
    return db.executemany(f"INSERT INTO {table}({','.join(columns)}) VALUES ({marks})", rows).rowcount


def _requests(end_ms: float) -> Iterator[tuple[Any, ...]]:
    for n, at in enumerate(np.arange(1000.0, end_ms, 250.0).tolist()):
        op, chunk = factory.BLOCK[n % 10], f"{n // 240:04d}"
        found = (10 - n % 5 // 4, 10, f"q{n % 200:03d}") if op == "search" else (None, None, None)
        yield at, at + 1, at + 40 + n % 17, op, 1, "ok", "", chunk, 0, f"{chunk}-{n}", *found


def _down(times: Any, down: list[tuple[float, float]]) -> list[bool]:
    begins, ends = (np.array(side) for side in zip(*down, strict=True))
    place = np.searchsorted(begins, times, side="right") - 1
    return list((place >= 0) & (times < ends[np.maximum(place, 0)]))


def _probes(end_ms: float, n: int, down: list[tuple[float, float]]) -> Iterator[tuple[Any, ...]]:
    times = np.linspace(1000.0, end_ms - 1, n)
    looks_ms = iter([*np.arange(1200.0, end_ms, 500.0).tolist(), float("inf")])
    look_ms = next(looks_ms)
    for at, dead in zip(times.tolist(), _down(times, down), strict=True):
        while look_ms <= at:
            yield look_ms, look_ms + 5, "store_idle", "ok", "", None, None
            look_ms = next(looks_ms)
        outcome = ("payload", "expected collections contains docs") if dead else ("ok", "")
        yield at, at + 12, "list", *outcome, None, None


def _recall(end_ms: float, down: list[tuple[float, float]]) -> Iterator[tuple[Any, ...]]:
    times = np.arange(1000.0, end_ms, 1000 / 1.5)
    for n, (at, dead) in enumerate(zip(times.tolist(), _down(times, down), strict=True)):
        answer = (0, 0, 10, "is_error", "the store is down") if dead else (1, 10 - n % 5 // 4, 10, "ok", "")
        yield at, at + 30, "dense", f"q{n % 200:03d}", *answer


def _memory(end_ms: float) -> Iterator[tuple[Any, ...]]:
    for at in np.arange(1000.0, end_ms, MEMORY_EVERY_MS).tolist():
        for series in range(MEMORY_SERIES):
            yield (
                at,
                "mcp",
                f"worker-{series}",
                "rss_bytes",
                280_000_000 + series,
                100 + series,
                1.7e9 + series,
            )


def _host(end_ms: float) -> Iterator[tuple[Any, ...]]:
    for at in np.arange(1000.0, end_ms, MEMORY_EVERY_MS).tolist():
        for metric in ("lab_cpu_s", "mcp_cpu_s", "host_cpu_idle_s"):
            yield at, metric, at / 1e5


def _chunks(like: Event, end_ms: float) -> Iterator[Event]:
    n = len(np.arange(1000.0, end_ms, 250.0))
    for chunk, first in enumerate(range(0, n, 240)):
        rows, start_ms, name = min(240, n - first), 1000.0 + 250.0 * first, f"{chunk:04d}"
        about = {"chunk": name, "scheduled_start_ms": start_ms, "duration_ms": CHUNK_MS, "rate_per_s": 4.0}
        counts = {"exit_code": 0, "started": rows, "dropped": 0, "rows": rows, "truncated": False}
        yield replace(like, at_ms=start_ms - 500, kind="load_chunk_started", data=about)
        ended_ms = min(start_ms + CHUNK_MS, end_ms)
        yield replace(like, at_ms=ended_ms, kind="load_chunk_ended", data={"chunk": name, **counts})


def main() -> None:
    """Make the run, judge it in a process of its own, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probes", type=int, default=4_000_000)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--witnesses", nargs="+", default=["canary"], choices=["canary", "load", "truth"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="judge-large-") as folder:
        run = make(options.keep or Path(folder), options.probes, options.hours, tuple(options.witnesses))
        done = subprocess.run(
            [sys.executable, "-c", JUDGE, str(run)], check=True, capture_output=True, text=True
        )
    for name, value in json.loads(done.stdout).items():
        print(f"{name:14} {value}")


if __name__ == "__main__":
    main()
