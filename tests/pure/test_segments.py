"""A run of several segments: each is judged by what it has, and nothing spans the time between two of them."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lab.evidence import run_directory
from lab.evidence.journal_file import read_segments
from lab.evidence.sample_store import SampleStore
from lab.judge import judge
from lab.judge.tables import memory
from lab.judge.windows.timeline import find_windows
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.samples import TABLES, Memory, Rows, Samples
from lab.model.verdict import Finding, Judgement, Verdict
from tests.pure.evidence_factory import Recipe, edited, make

PASS, INCONCLUSIVE = Verdict.PASS, Verdict.INCONCLUSIVE
GAP_MS = 90_000.0
LATER = {"requests": ("scheduled_ms", "sent_ms", "done_ms"), "recall": ("sent_ms", "done_ms")}
LATER |= {"probes": ("sent_ms", "done_ms"), "memory": ("at_ms",), "host": ("at_ms",)}
LATER |= {"traffic": ("at_ms",)}


def found(judgement: Judgement, check: str, subject: str) -> Finding:
    return next(f for f in judgement.findings if (f.check, f.subject) == (check, subject))


def later(row: Any, table: str, by_ms: float) -> Any:
    times = {name: getattr(row, name) for name in LATER[table]}
    return replace(row, **{name: None if at is None else at + by_ms for name, at in times.items()})


def resumed(evidence: Evidence, at_ms: float, *, ended: bool = True) -> Evidence:
    """The same run, stopped at a time and resumed 90 s later by another process; a step that this cuts begins again.

    Both segments have a guardian. With `ended` the first one recorded its own end.
    """
    tables: dict[str, list[Any]] = {}
    first_rows = {}
    for table in TABLES:
        rows = list(getattr(evidence.samples, table))
        first_rows[table] = sum(getattr(row, LATER[table][0]) < at_ms for row in rows)
        early = [row for row in rows if getattr(row, LATER[table][0]) < at_ms]
        late = [row for row in rows if getattr(row, LATER[table][0]) >= at_ms]
        tables[table] = early + [later(row, table, GAP_MS) for row in late]
    samples = Samples(**{table: Rows(rows) for table, rows in tables.items()})
    events = list(evidence.journal)
    before, after = [e for e in events if e.at_ms < at_ms], [e for e in events if e.at_ms >= at_ms]
    drafts = [_event(before[0], 1.0, "guardian_started", pid=1), *before[1:]]
    if ended:
        drafts.append(_event(before[0], at_ms, "run_ended", rows=first_rows))
    first = _numbered([before[0], *drafts], 0)
    second = [_event(before[0], at_ms + GAP_MS, "segment_started", segment=1, offset_ms=at_ms + GAP_MS)]
    second.append(_event(before[0], at_ms + GAP_MS, "guardian_started", pid=2))
    second += _begun_again(before, at_ms + GAP_MS)
    second += [_moved(event) for event in after]
    second_rows = {table: n - first_rows[table] for table, n in samples.counts().items()}
    second[-1] = replace(second[-1], data={"rows": second_rows})
    journal = Journal((*first, *_numbered(second, 1)))
    return replace(
        evidence, samples=samples, journal=journal, guardian=guardian((0, 1.0), (1, at_ms + GAP_MS))
    )


def _begun_again(before: list[Event], at_ms: float) -> list[Event]:
    done = {event.data["step"] for event in before if event.kind == "phase_ended"}
    cut = [e for e in before if e.kind == "phase_started" and e.data["step"] not in done]
    return [_event(before[0], at_ms, "phase_started", **event.data) for event in cut]


def _moved(event: Event) -> Event:
    data = dict(event.data)
    if "scheduled_start_ms" in data:
        data["scheduled_start_ms"] += GAP_MS
    if "load_began_ms" in data:
        data["load_began_ms"] += GAP_MS
    return replace(event, at_ms=event.at_ms + GAP_MS, data=data)


def _event(like: Event, at_ms: float, kind: str, **data: Any) -> Event:
    return replace(like, at_ms=at_ms, kind=kind, data=data)


def _numbered(events: list[Event], segment: int) -> list[Event]:
    numbered = [replace(event, seq=seq, segment=segment) for seq, event in enumerate(events)]
    last = numbered[-1]
    if last.kind == "run_ended":
        numbered[-1] = replace(last, data={**last.data, "last_seq": last.seq})
    return numbered


def guardian(*segments: tuple[int, float]) -> Journal:
    """The journals of the guardians of these segments, each of which saw nothing to do."""
    return Journal(
        tuple(
            Event(seq, "guardian", at_ms + seq, "", kind, {}, segment)
            for segment, at_ms in segments
            for seq, kind in enumerate(("guardian_started", "guardian_ended"))
        )
    )


@cache
def whole() -> Evidence:
    """A healthy run in which each chunk of load is journalled as ended before the next one begins."""
    run = make(Recipe(baseline_s=240.0))
    by_ms = {"load_chunk_ended": -300.0, "load_chunk_started": 450.0}
    events = sorted(
        (replace(event, at_ms=event.at_ms + by_ms.get(event.kind, 0.0)) for event in run.journal),
        key=lambda event: event.at_ms,
    )
    return edited(replace(run, journal=Journal(tuple(events))), lambda event: event)


def in_baseline() -> float:
    """The end of a chunk in the baseline."""
    ended = whole().journal.last("load_chunk_ended", chunk="0001")
    assert ended is not None
    return ended.at_ms + 50


def in_hold(fault: str) -> float:
    healing = whole().journal.last("fault_healing", fault=fault)
    assert healing is not None
    return healing.at_ms - 5000


def test_a_run_of_two_segments_is_judged() -> None:
    judgement = judge(resumed(whole(), in_baseline()))
    undecided = [f for f in judgement.findings if f.verdict is INCONCLUSIVE]
    assert not undecided, undecided
    assert judgement.gate is PASS and not judgement.interrupted
    # The control: the same events as if they were one segment's are no whole journal.
    flat = resumed(whole(), in_baseline())
    events = tuple(replace(event, segment=0) for event in flat.journal)
    assert judge(replace(flat, journal=Journal(events))).gate is INCONCLUSIVE


def test_the_time_between_stands_among_the_gaps_and_belongs_to_no_window() -> None:
    border_ms = in_baseline()
    evidence = resumed(whole(), border_ms)
    windows = find_windows(evidence)
    spans = [*windows.phases, *windows.steady, *(fault.span for fault in windows.faults if fault.span)]
    assert not [w for w in spans if w.from_ms < border_ms + GAP_MS and w.to_ms > border_ms + 1]
    gaps: Any = judge(evidence).tables["gaps"]
    between = [gap for gap in gaps if "nothing was measured until segment 1 began" in gap["why"]]
    assert [round(gap["to_ms"] - gap["from_ms"]) for gap in between] == [round(GAP_MS)]
    assert not [gap for gap in gaps if gap not in between], "the border is no silence of a stream"
    reason = found(judge(evidence), "integrity", "run").reason
    assert "segment 0 ended, and nothing was measured until segment 1 began (journal:1/0)" in reason


def test_a_fault_step_that_the_border_cuts_is_not_decided_and_the_others_are() -> None:
    judgement = judge(resumed(whole(), in_hold("f2-kill")))
    for check, subject in (("in_force", "f2-kill"), ("recovery", "f2-kill"), ("accuracy", "kill")):
        finding = found(judgement, check, subject)
        assert finding.verdict is INCONCLUSIVE and "was cut" in finding.reason
    for check in ("in_force", "recovery", "load_arrived"):
        for fault in ("f1-latency", "f3-cpu_cap"):
            assert found(judgement, check, fault).verdict is PASS
    assert judgement.gate is INCONCLUSIVE


def test_no_recovery_clock_goes_on_over_the_border() -> None:
    healed = whole().journal.last("fault_healed", fault="f2-kill")
    assert healed is not None
    evidence = resumed(whole(), healed.at_ms + 600)
    fault = next(f for f in find_windows(evidence).faults if f.planned.id == "f2-kill")
    assert fault.span is not None and fault.span.to_ms <= healed.at_ms + 600
    assert all(probe.sent_ms < healed.at_ms + 600 for probe in fault.stream.in_slo)
    assert fault.recovering is None


def test_a_segment_that_was_killed_is_known_to_lack_its_last_rows() -> None:
    judgement = judge(resumed(whole(), in_baseline(), ended=False))
    assert judgement.gate is PASS
    assert "ended without a record of its end" in found(judgement, "integrity", "run").reason
    # The last segment has none that follows it, so it must have its end.
    evidence = resumed(whole(), in_baseline())
    cut = replace(evidence, journal=Journal(evidence.journal.events[:-1]))
    assert judge(cut).gate is INCONCLUSIVE and judge(cut).interrupted


def test_an_interruption_that_was_gone_on_from_is_an_incident() -> None:
    evidence = resumed(whole(), in_baseline())
    ended = next(n for n, event in enumerate(evidence.journal) if event.kind == "run_ended")
    events = list(evidence.journal.events)
    events[ended - 1] = replace(events[ended - 1], kind="interrupted", data={"why": "Ctrl-C"})
    judgement = judge(replace(evidence, journal=Journal(tuple(events))))
    assert "segment 0 was interrupted: Ctrl-C" in found(judgement, "integrity", "run").reason
    assert not judgement.interrupted


@pytest.mark.parametrize("missing", [0, 1])
def test_a_guardian_that_is_missing_in_one_segment_is_noticed(missing: int) -> None:
    evidence = resumed(whole(), in_baseline())
    assert evidence.guardian is not None
    left = tuple(event for event in evidence.guardian if event.segment != missing)
    judgement = judge(replace(evidence, guardian=Journal(left)))
    finding = found(judgement, "integrity", "run")
    name = "guardian.jsonl" if missing == 0 else "guardian-1.jsonl"
    assert finding.verdict is INCONCLUSIVE and name in finding.reason


def test_what_the_first_guardian_healed_is_an_incident_and_what_the_last_one_did_speaks_against_the_run() -> (
    None
):
    evidence = resumed(whole(), in_baseline())
    assert evidence.guardian is not None
    for segment, verdict in ((0, PASS), (1, INCONCLUSIVE)):
        acted = tuple(
            replace(e, kind="healed", data={"fault": "f1-latency"})
            if (e.segment, e.kind) == (segment, "guardian_ended")
            else e
            for e in evidence.guardian
        )
        finding = found(judge(replace(evidence, guardian=Journal(acted))), "integrity", "run")
        assert finding.verdict is verdict
        assert "the guardian acted: healed" in finding.reason


BROKEN: list[Callable[[Evidence], Evidence]] = [
    # A number is missing in the second segment.
    lambda e: replace(e, journal=Journal(tuple(x for x in e.journal if x.place != (1, 3)))),
    # The second segment does not say that it is one.
    lambda e: replace(e, journal=Journal(tuple(x for x in e.journal if x.place != (1, 0)))),
    # A segment in between is missing.
    lambda e: replace(
        e, journal=Journal(tuple(replace(x, segment=2) if x.segment else x for x in e.journal))
    ),
    # The segments overlap.
    lambda e: replace(
        e,
        journal=Journal(tuple(replace(x, at_ms=x.at_ms - 2 * GAP_MS) if x.segment else x for x in e.journal)),
    ),
    # Rows of the first segment are missing, and as many are too many in the second.
    lambda e: replace(
        e, samples=replace(e.samples, host=Rows([*list(e.samples.host)[1:], list(e.samples.host)[-1]]))
    ),
]


@pytest.mark.parametrize("broken", range(len(BROKEN)))
def test_segments_that_do_not_fit_together_never_pass(broken: int) -> None:
    assert judge(BROKEN[broken](resumed(whole(), in_baseline()))).gate is not PASS


def test_a_series_of_memory_ends_with_its_segment() -> None:
    evidence = resumed(whole(), in_baseline())
    rows = memory.describe(evidence, find_windows(evidence), ())
    assert [(row["segment"], row["container"]) for row in rows] == [(0, "mcp"), (1, "mcp")]
    assert all(isinstance(row["duration_s"], float) and row["duration_s"] < 600 for row in rows)


def test_a_restarted_process_is_a_series_of_its_own() -> None:
    worker = [
        Memory(float(at), "mcp", "python", "rss_bytes", 10, pid, started)
        for at, pid, started in ((1, 7, 1.5), (2, 7, 1.5), (3, 8, 2.5), (4, 7, 3.5))
    ]
    evidence = replace(whole(), samples=replace(whole().samples, memory=Rows(worker)))
    rows = memory.describe(evidence, find_windows(evidence), ())
    assert [(row["pid"], row["started"], row["samples"]) for row in rows] == [
        (7, 1.5, 2),
        (7, 3.5, 1),
        (8, 2.5, 1),
    ]


def written(evidence: Evidence, folder: Path) -> Path:
    """A run directory with the evidence, each segment in its own files."""
    run = run_directory.create(folder, "soak")
    run_directory.write_plan(run, evidence.plan)
    store = SampleStore(run / "samples.sqlite")
    for table in TABLES:
        store.add(getattr(evidence.samples, table))
    store.close()
    for name, journal in (("journal", evidence.journal), ("guardian", evidence.guardian or ())):
        for event in journal:
            path = run / (f"{name}.jsonl" if event.segment == 0 else f"{name}-{event.segment}.jsonl")
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event.to_json()) + "\n")
    return run


def test_the_segments_of_a_run_directory_are_read(tmp_path: Path) -> None:
    evidence = resumed(whole(), in_baseline())
    run = written(evidence, tmp_path)
    read = run_directory.read_evidence(run)
    assert read.journal.events == evidence.journal.events and read.guardian == evidence.guardian
    assert read.samples.counts() == evidence.samples.counts()
    digest = "plan.json is not the plan that the run began with"
    judgement = judge(replace(read, damage=tuple(d for d in read.damage if d != digest)))
    assert [f for f in judgement.findings if f.verdict is not Verdict.NOT_TESTED] == [
        f for f in judge(evidence).findings if f.verdict is not Verdict.NOT_TESTED
    ]


def test_only_a_segment_that_another_followed_may_have_a_torn_line(tmp_path: Path) -> None:
    run = written(resumed(whole(), in_baseline(), ended=False), tmp_path)
    with (run / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"seq": 99, "wri')
    first = read_segments(run, "journal")
    assert first is not None and not first.damage
    with (run / "journal-1.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"seq": 99, "wri')
    second = read_segments(run, "journal")
    assert second is not None and second.damage.startswith("segment 1: journal line ")


def test_a_missing_first_segment_is_damage_and_none_at_all_is_no_journal(tmp_path: Path) -> None:
    assert read_segments(tmp_path, "journal") is None
    run = written(resumed(whole(), in_baseline()), tmp_path)
    (run / "journal.jsonl").unlink()
    left = read_segments(run, "journal")
    assert left is not None and left.damage == "journal.jsonl is missing"
