"""A journal that is damaged or foreign: it is judged all the same, the damage is named, and nothing passes."""

import io
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from lab.evidence import run_directory
from lab.evidence.journal_file import JournalFile, read_journal
from lab.evidence.sample_store import SampleStore
from lab.guard.guardian_journal import GuardianJournal
from lab.judge import judge
from lab.model.evidence import Evidence
from lab.model.journal import Event, event_from_json
from lab.model.samples import TABLES
from lab.model.verdict import Judgement, Verdict
from lab.observe.clock import RunClock
from lab.report import report_json, summary, terminal
from tests.pure.evidence_factory import Recipe, edited, make

HALF = "half a character: \ud83d"
HEALED = "half a character: \ufffd"
HEAD: dict[str, Any] = {"seq": 0, "writer": "run", "at_ms": 1.5, "wall": "2026", "kind": "proof"}
FEW = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=9)
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NOT_TEXT = ANYTHING.filter(lambda value: not isinstance(value, str))
NO_NUMBER = NOT_TEXT.filter(lambda value: isinstance(value, bool) or not isinstance(value, int | float))
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "seq": ANYTHING.filter(lambda value: isinstance(value, bool) or not isinstance(value, int) or value < 0),
    "at_ms": NO_NUMBER | st.text() | st.sampled_from([float("inf"), float("-inf"), float("nan"), 10**400]),
    **dict.fromkeys(("writer", "wall", "kind"), NOT_TEXT),
}


@cache
def whole() -> Evidence:
    return make(Recipe(faults=("kill",), clean_s=0, baseline_s=30))


@cache
def lines() -> tuple[str, ...]:
    return tuple(json.dumps(event.to_json()) for event in whole().journal)


def reported(found: Evidence) -> Judgement:
    """The judgement, after every report was made of it and could be written."""
    judgement = judge(found)
    report = report_json.build(found, judgement)
    Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8"), width=100).print(
        terminal.render(report, Path("/tmp"))
    )
    assert report_json.dumps(report).encode() and summary.render(report).encode()
    return judgement


def judged(found: Evidence) -> Judgement:
    """The judgement of damaged evidence, which is reported and never passes."""
    judgement = reported(found)
    assert judgement.gate is not Verdict.PASS
    return judgement


def from_lines(changed: list[str] | bytes) -> Evidence:
    """The whole evidence with the journal that is read from these lines."""
    text = changed if isinstance(changed, bytes) else "".join(f"{line}\n" for line in changed).encode()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        path.write_bytes(text)
        journal = read_journal(path)
    return replace(whole(), journal=journal, damage=(journal.damage,) if journal.damage else ())


def test_the_control_is_whole() -> None:
    found = from_lines(list(lines()))
    assert found.journal == whole().journal
    assert "damage" not in str(judge(found).findings)


@FEW
@given(st.data())
def test_a_head_that_no_event_has_is_named(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines()) - 1))
    name = data.draw(st.sampled_from(sorted(WRONG)))
    event = {**json.loads(lines()[at]), name: data.draw(WRONG[name])}
    found = from_lines([*lines()[:at], json.dumps(event), *lines()[at + 1 :]])
    assert found.journal.damage.startswith(f"journal line {at + 1}: ")
    assert len(found.journal.events) == at
    assert f"journal line {at + 1}: " in str([one.reason for one in judged(found).findings])


@FEW
@given(st.data())
def test_bytes_that_were_changed_never_stop_the_judge(data: st.DataObject) -> None:
    text = bytearray("".join(f"{line}\n" for line in lines()).encode())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(min_size=1, max_size=40))
    reported(from_lines(bytes(text)))


@FEW
@given(st.data())
def test_a_line_with_anything_in_its_data_never_stops_the_judge(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines()) - 1))
    event = json.loads(lines()[at])
    key = data.draw(st.sampled_from(sorted(event.keys() - HEAD.keys()) or ["more"]))
    event[key] = data.draw(ANYTHING)
    reported(from_lines([*lines()[:at], json.dumps(event), *lines()[at + 1 :]]))


@pytest.mark.parametrize(
    "deep",
    ["[" * 200_000, '{"a":' * 200_000, json.dumps({**HEAD, "a": 0})[:-2] + "[" * 400 + "]" * 400 + "}"],
)
def test_a_line_that_nests_without_end_is_named(deep: str) -> None:
    found = from_lines([lines()[0], deep, *lines()[2:]])
    assert found.journal.damage == "journal line 2: nested too deeply"
    judged(found)


def test_half_a_character_is_read_as_its_replacement() -> None:
    event = {**HEAD, "kind": "sampler_died", "sampler": "x", "why": HALF, HALF: [HALF, {"a": HALF}]}
    found = from_lines([*lines()[:-1], json.dumps(event)])
    read = found.journal.events[-1]
    assert read.data == {"sampler": "x", "why": HEALED, HEALED: [HEALED, {"a": HEALED}]}
    assert HEALED in str([one.reason for one in judged(found).findings])
    # The control: a whole pair, written as two escapes, is one character and stays.
    pair = from_lines([json.dumps({**HEAD, "why": "\U0001f600"})]).journal.events[0]
    assert pair.data["why"] == "\U0001f600"


def test_half_a_character_in_evidence_reaches_no_report() -> None:
    """Evidence that was not read from a file, such as the judge's own test makes."""
    judged(
        edited(
            whole(),
            lambda event: replace(event, kind="lab_failed", data={"why": HALF}) if event.seq == 2 else event,
        )
    )


def test_half_a_character_is_journaled_as_its_replacement(tmp_path: Path) -> None:
    seen: list[Event] = []
    journal = JournalFile(tmp_path / "journal.jsonl", RunClock(), seen.append)
    journal.record("sampler_died", why=HALF)
    returned = journal.record("proof", detail="whole \U0001f600", durable=True)
    journal.close()
    assert [event.data for event in seen] == [{"why": HEALED}, {"detail": "whole \U0001f600"}]
    assert returned is seen[1]
    read = read_journal(tmp_path / "journal.jsonl")
    assert read.events == tuple(seen) and not read.damage


def test_the_guardian_journals_half_a_character_too(tmp_path: Path) -> None:
    journal = GuardianJournal(tmp_path / "guardian.jsonl", RunClock())
    journal.record("healed", detail=HALF)
    journal.record("guardian_ended")
    journal.close()
    read = read_journal(tmp_path / "guardian.jsonl")
    assert [event.data for event in read] == [{"detail": HEALED}, {}] and not read.damage


@pytest.mark.parametrize(
    ("name", "good"),
    [("seq", 0), ("seq", 10**30), ("at_ms", 0), ("at_ms", -1.5), ("at_ms", 1e308), ("wall", "")],
)
def test_what_an_event_may_have_is_kept(name: str, good: object) -> None:
    assert getattr(event_from_json({**HEAD, name: good}), name) == good


@pytest.mark.parametrize("last", [1e308, -1e308, 1 << 1000])
def test_a_time_beyond_all_runs_never_stops_the_judge(last: float) -> None:
    event = {**json.loads(lines()[-1]), "at_ms": last}
    reported(from_lines([*lines()[:-1], json.dumps(event)]))


def test_a_damaged_run_directory_is_judged_and_the_same_each_time(tmp_path: Path) -> None:
    run = run_directory.create(tmp_path, "soak")
    run_directory.write_plan(run, whole().plan)
    store = SampleStore(run / "samples.sqlite")
    for table in TABLES:
        store.add(getattr(whole().samples, table))
    store.close()
    (run / "journal.jsonl").write_text("\n".join([*lines()[:5], "[" * 100_000]), encoding="utf-8")
    texts = []
    for _ in range(2):
        found = run_directory.read_evidence(run)
        assert found.samples.counts() == whole().samples.counts()
        text = report_json.dumps(report_json.build(found, judged(found)))
        run_directory.write_text(run / "report.json", text + HALF)
        texts.append((run / "report.json").read_bytes())
    assert texts[0] == texts[1] and HEALED.encode() in texts[0]
    assert b"journal line 6: nested too deeply" in texts[0]
