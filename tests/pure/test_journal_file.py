"""The journal as a file: what was recorded is read again, whatever is in it, and what is cut off is named."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.evidence.journal_file import JournalFile, read_journal
from lab.model.journal import Event
from lab.observe.clock import RunClock

# All at which str.splitlines() splits beside "\n".
SPLITTING = "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
DETAILS = st.lists(st.text(st.sampled_from(SPLITTING) | st.characters(exclude_categories=["Cs"])), max_size=5)


def written(folder: Path, details: list[str]) -> Path:
    journal = JournalFile(folder / "journal.jsonl", RunClock())
    for detail in details:
        journal.record("proof", detail=detail)
    journal.close()
    return folder / "journal.jsonl"


@given(DETAILS)
def test_what_was_recorded_is_read_again(details: list[str]) -> None:
    with TemporaryDirectory() as folder:
        read = read_journal(written(Path(folder), details))
    assert [event.data["detail"] for event in read] == details
    assert not read.damage or not details


@pytest.mark.parametrize("splitting", SPLITTING)
def test_no_character_in_a_detail_ends_an_event(tmp_path: Path, splitting: str) -> None:
    read = read_journal(written(tmp_path, [f"a{splitting}b", "after"]))
    assert [event.data["detail"] for event in read] == [f"a{splitting}b", "after"]
    assert not read.damage


def test_what_was_cut_off_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = written(tmp_path, ["one", "two\u2028"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert len(read_journal(path).events) == 1 and "line 2" in read_journal(path).damage
    path.write_bytes(whole[:-1])
    assert len(read_journal(path).events) == 2
    assert read_journal(path).damage == "the journal's last line is incomplete"
    path.write_bytes(b"")
    assert read_journal(path).damage == "the journal's last line is incomplete"


@pytest.mark.parametrize("line", ["[1]", "3", "null", '"text"', '{"seq": 1}'])
def test_a_line_that_is_no_event_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(f"{line}\n", encoding="utf-8")
    found = read_journal(path)
    assert not found.events and found.damage.startswith("journal line 1: ")


def test_an_event_that_cannot_be_written_leaves_a_hole_in_the_numbers(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "journal.jsonl", RunClock())
    journal.record("first")
    with pytest.raises(TypeError):
        journal.record("second", what=object())
    journal.record("third")
    journal.close()
    assert [event.seq for event in read_journal(tmp_path / "journal.jsonl")] == [0, 2]


def test_a_listener_that_breaks_is_told_no_more_and_harms_no_event(tmp_path: Path) -> None:
    shown: list[str] = []

    def broken(event: Event) -> None:
        shown.append(event.kind)
        raise BrokenPipeError(32, "Broken pipe")

    journal = JournalFile(tmp_path / "journal.jsonl", RunClock(), broken)
    journal.record("first")
    journal.record("second")
    journal.close()
    assert shown == ["first"]
    assert [event.kind for event in read_journal(tmp_path / "journal.jsonl")] == ["first", "second"]
