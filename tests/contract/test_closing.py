"""The end of a run's evidence: each part is closed whatever the others raise, and the journal says what failed."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import judge
from lab.boundary import Caught
from lab.errors import RunFailed, WorldError
from lab.evidence import run_directory
from lab.evidence.journal_file import JournalFile, read_journal
from lab.model.journal import Event
from lab.model.verdict import Judgement, Verdict
from lab.observe.clock import RunClock
from lab.report import report_json, summary
from lab.run import session
from lab.run.closing import close_all, record_failure
from tests.contract.run_fakes import FakeGuard

PARTS = ("guard", "log", "store")


@dataclass
class Part:
    """A guard, an engine log and a sample store in one, that knows what was closed and in which order."""

    breaks: str = ""
    error: Exception = field(default_factory=lambda: KeyError("x"))
    closed: list[str] = field(default_factory=list)

    def end(self, what: str) -> None:
        self.closed.append(what)
        if what == self.breaks:
            raise self.error


def closed(directory: Path, part: Part) -> tuple[list[Caught], list[Event]]:
    class Guard(FakeGuard):
        def close(self) -> None:
            part.end("guard")

    class Log:
        def stop(self, services: tuple[str, ...]) -> None:
            part.end("log")

    class Store:
        def close(self) -> dict[str, int]:
            part.end("store")
            return {"probes": 3}

    journal = JournalFile(directory / "journal.jsonl", RunClock())
    failures = close_all(journal, Guard(), Log(), Store(), ("mcp",))
    return failures, list(read_journal(directory / "journal.jsonl"))


@pytest.mark.parametrize("breaks", ["", *PARTS])
def test_each_part_is_closed_whatever_another_raises(tmp_path: Path, breaks: str) -> None:
    part = Part(breaks)
    failures, events = closed(tmp_path, part)
    assert part.closed == list(PARTS)
    assert events[-1].kind == "run_ended" and ("rows" in events[-1].data) is (breaks != "store")
    assert [type(caught.error) for caught in failures] == ([KeyError] if breaks else [])
    errors = [event for event in events if event.kind == "lab_error"]
    assert [event.data["error"] for event in errors] == (["KeyError"] if breaks else [])
    for event in errors:
        assert event.data["trace"].startswith("tests/contract/test_closing.py") and event.data["place"]


def test_a_store_on_a_full_disk_is_said_without_a_trace(tmp_path: Path) -> None:
    failures, events = closed(tmp_path, Part("store", WorldError("the samples could not all be written")))
    assert [event.kind for event in events] == ["sampler_died", "run_ended"]
    assert "could not all be written" in str(failures[0])


def test_a_failure_that_the_run_has_journalled_is_not_journalled_twice(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "journal.jsonl", RunClock())
    record_failure(journal, Caught(RunFailed("said already")))
    record_failure(journal, Caught(KeyError("new")))
    journal.close()
    assert [event.kind for event in read_journal(tmp_path / "journal.jsonl")] == ["lab_error", "lab_failed"]


def test_a_report_that_cannot_be_written_leaves_the_judgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(run_directory, "read_evidence", lambda directory: directory)
    judgement = Judgement(Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE, 0.0, True, (), {})
    monkeypatch.setattr(judge, "judge", lambda evidence: judgement)
    monkeypatch.setattr(report_json, "build", lambda evidence, found: {})
    monkeypatch.setattr(summary, "render", lambda report: "")
    monkeypatch.setattr(run_directory, "write_text", full)
    outcome = session.judge_run(tmp_path)
    assert outcome.judgement is judgement
    assert outcome.failure is not None and "No space left" in str(outcome.failure)
