"""The tables of a report about the target's load, memory and known issues, the phases and the preparation."""

from dataclasses import replace
from typing import Any

from lab.judge.tables import known_issues, load, memory, phases, preparation
from lab.judge.windows.segments import find_segments
from lab.model.samples import HostReading, Layer, Memory
from lab.model.verdict import Verdict
from tests.pure.evidence_factory import EMPTY_ISSUE, STATUS_ISSUES, STATUS_MESSAGE, target
from tests.pure.test_judge_tables import (
    BASELINE,
    KILL,
    PLAN,
    SLOW,
    SPAN,
    STARTED,
    STEP,
    WARM,
    event,
    finding,
    recall,
    request,
    run,
    windows,
)
from tests.pure.window_factory import fault_window

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def test_every_declared_issue_is_counted_over_the_whole_run() -> None:
    plan = replace(PLAN, target=target((*STATUS_ISSUES, EMPTY_ISSUE)))
    broken = [
        replace(request(at, 40.0, "status", Layer.PAYLOAD), message=STATUS_MESSAGE) for at in (1.0, 70_000.0)
    ]
    empty = [
        replace(recall(at, 1, 0), layer=Layer.PAYLOAD, message="min_items") for at in (20_000.0, 70_000.0)
    ]
    kinds = ((0.0, frozenset[str]()), (61_000.0, frozenset({"kill"})))
    found = known_issues.describe(run(plan=plan, requests=broken, recall=empty), windows(kinds=kinds), [])
    assert [(r["id"], r["check"], r["n"], r["seen"]) for r in found] == [
        ("empty-when-dead", "accuracy", 1, True),
        ("status-errors", "errors", 2, True),
        ("status-latency", "latency", 2, True),
    ]
    assert found[0] == {
        "id": "empty-when-dead",
        "check": "accuracy",
        "operation": "search",
        "faults": ["kill"],
        "n": 1,
        "seen": True,
        "explanation": EMPTY_ISSUE.explanation,
        "date": EMPTY_ISSUE.date,
        "target_version": "0.1.0",
    }
    assert [r["seen"] for r in known_issues.describe(run(plan=plan), windows(), [])] == [False] * 3


def test_the_load_is_shown_for_each_window_and_operation() -> None:
    rows = [request(20_000.0 + n, 10.0 + n) for n in range(97)]
    rows += [request(21_000.0, 200.0), request(21_001.0, None, "search", Layer.TRANSPORT)]
    rows += [
        request(21_002.0, None, "search", Layer.UNSENT),
        request(20_000.0, 5.0, "add"),
        request(62_000.0),
        request(5.0),
    ]
    found = load.describe(run(requests=rows), windows(fault_window(KILL, SPAN), fault_window(SLOW, None)), [])
    assert [(r["window"], r["phase"], r["fault"], r["op"], r["n"]) for r in found] == [
        ("warm-up", "warm_up", None, "search", 1),
        ("baseline", "steady", None, "add", 1),
        ("baseline", "steady", None, "search", 100),
        (KILL.id, "fault", "kill", "search", 1),
    ]
    figures = found[2]
    ends: Any = figures["p95_ci"]
    assert (figures["ok"], figures["late"], figures["dropped"], figures["errors"]) == (
        98,
        1,
        1,
        {"transport": 1},
    )
    assert (figures["p50_ms"], figures["p95_ms"], figures["p99_ms"]) == (59.0, 104.0, float("inf"))
    assert 85 < ends[0] < 104 < ends[1]


def test_each_series_of_memory_is_a_row_in_its_segment() -> None:
    later = replace(STARTED, at_ms=50_000.0, kind="segment_started", segment=1)
    evidence = run(
        later,
        memory=[
            Memory(1000.0, "mcp", None, "rss_bytes", 1),
            Memory(6000.0, "mcp", None, "rss_bytes", 2),
            Memory(6000.0, "mcp", "worker", "rss_bytes", 2, 17, 3.5),
            Memory(7000.0, "mcp", "worker", "rss_bytes", 2, 18, 4.5),
            Memory(60_000.0, "mcp", None, "rss_bytes", 2),
        ],
    )
    found = memory.describe(evidence, windows(segments=find_segments(evidence.journal)), [])
    assert [
        (r["segment"], r["process"], r["pid"], r["started"], r["samples"], r["duration_s"]) for r in found
    ] == [
        (0, None, None, None, 2, 5.0),
        (0, "worker", 17, 3.5, 1, 0.0),
        (0, "worker", 18, 4.5, 1, 0.0),
        (1, None, None, None, 1, 0.0),
    ]
    assert found[0] == {
        **dict.fromkeys(("process", "pid", "started", "growth_mb_per_24h", "ci", "mde_mb_per_24h")),
        "container": "mcp",
        "metric": "rss_bytes",
        "segment": 0,
        "verdict": "not_tested",
        "samples": 2,
        "duration_s": 5.0,
    }


def test_each_phase_has_the_worst_verdict_of_its_findings_and_what_others_took() -> None:
    ticks = [10_000.0 + 5000 * n for n in range(11)]
    host = [HostReading(at, "host_cpu_idle_s", at * 1.5 / 1000) for at in ticks]
    host += [HostReading(at, "host_cpu_waiting_s", at * 0.5 / 1000) for at in ticks]
    found = [
        finding("steady", PASS),
        finding("steady", FAIL),
        finding(KILL.id, PASS),
        finding("x", INCONCLUSIVE),
    ]
    cut = windows(phases=(WARM, BASELINE, replace(STEP, complete=False)))
    warm, steady, step = phases.describe(run(host=host), cut, found)
    assert steady == {
        "name": "baseline",
        "started_ms": 10_000.0,
        "ended_ms": 60_000.0,
        "verdict": "fail",
        "others_cpu_share": 0.25,
        "cpu_waiting_share": 0.5,
    }
    assert (warm["verdict"], warm["others_cpu_share"]) == ("not_tested", None)
    assert (step["verdict"], step["ended_ms"]) == ("pass", None)


def test_the_preparation_counts_from_the_command_to_the_first_request() -> None:
    parts = [{"part": "store", "seconds": 3.0}]
    prepared = event(
        1,
        5.0,
        "prepared",
        store="copied",
        why="kept",
        command_began_ms=-2000.0,
        first_request_s=4.0,
        parts=parts,
    )
    rows = [request(1000.0, None, "search", Layer.UNSENT), request(1500.0), request(1250.0)]
    (row,) = preparation.describe(run(prepared, requests=rows), windows(), [])
    assert row == {
        "store": "copied",
        "why": "kept",
        "first_request_s": 4.0,
        "first_load_request_s": 3.25,
        "parts": parts,
    }
    (row,) = preparation.describe(run(prepared), windows(), [])
    assert row["first_load_request_s"] is None
    assert preparation.describe(run(), windows(), []) == []
    unsent = [request(float(n), None, "search", Layer.UNSENT) for n in range(1000)]
    (row,) = preparation.describe(run(prepared, requests=[*unsent, request(1500.0)]), windows(), [])
    assert row["first_load_request_s"] is None, "only the first thousand requests are read"
