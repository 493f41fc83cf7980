"""The report on a terminal: no line of 100 columns or more, and no word cut that is shorter than its column."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from lab.judge import judge
from lab.report import layout, report_json, terminal
from lab.report.escaping import one_line
from tests.pure.evidence_factory import EMPTY_ISSUE, STATUS_ISSUES, Recipe, make

WORDS = st.text(st.characters(categories=["L", "N", "P", "So", "Mn"]), min_size=1, max_size=60)
SENTENCES = st.lists(WORDS, max_size=12).map(" ".join)
NAMES = st.from_regex(r"f[1-9]{1,3}[a-f]?-[a-z_]{1,34}", fullmatch=True)


@cache
def report() -> dict[str, Any]:
    issues = (*STATUS_ISSUES, EMPTY_ISSUE)
    run = make(
        Recipe(status_fails=True, lies_when_down=True, known_issues=issues, recovers_s={"f1-latency": 1e5})
    )
    return report_json.build(run, judge(run))


def altered(name: str, operation: str, said: str) -> dict[str, Any]:
    """The report with a long fault id, a long name of an operation, and whatever a target said."""
    changed = dict(report())
    changed["faults"] = [{**row, "id": name, "target": operation} for row in report()["faults"]]
    changed["findings"] = [
        {**finding, "subject": name, "reason": f"{operation}: {said}"} for finding in report()["findings"]
    ]
    changed["gaps"] = [{"from_ms": 0.0, "to_ms": 1.0, "why": said}]
    changed["known_issues"] = [
        {**issue, "explanation": said, "id": name} for issue in report()["known_issues"]
    ]
    return changed


def shown(of: dict[str, Any], width: int) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=False)
    console.print(terminal.render(of, Path("runs/latest"), width), soft_wrap=True)
    return stream.getvalue().splitlines()


def words(lines: list[str]) -> set[str]:
    return {word for line in lines for word in line.split()}


@given(SENTENCES, st.integers(2, 99))
def test_wrapping_loses_nothing_and_cuts_only_words_longer_than_a_line(text: str, width: int) -> None:
    lines = layout.wrap(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert {word for word in text.split() if cell_len(word) <= width} <= words(lines)


@given(st.lists(st.lists(SENTENCES, min_size=4, max_size=4), min_size=1, max_size=5), st.integers(30, 99))
@example([["0 0 0 0 0 0", "00✅⺀⺀⺀", "00000000⺀", "0000000000"]], 35)
def test_a_table_fits_and_cuts_only_words_longer_than_their_column(rows: list[list[str]], width: int) -> None:
    lines = [cells for row in layout.table(rows, width) for cells in row]
    for cells in lines:
        assert cell_len((" " * layout.GAP).join(cells)) <= width
    # A cell may begin with an indent, in which no word can stand.
    columns = min(cell_len(cell) for cells in lines for cell in cells) - layout.INDENT
    whole = words([cell for cells in lines for cell in cells])
    assert {
        word for row in rows for cell in row for word in cell.split() if cell_len(word) <= columns
    } <= whole


@settings(deadline=None, max_examples=40)
@given(NAMES, NAMES, SENTENCES)
def test_no_line_has_100_columns_and_every_name_stays_whole(name: str, operation: str, said: str) -> None:
    for width in (80, 100, 200):
        lines = shown(altered(name, operation, said), width)
        assert max(map(cell_len, lines)) <= min(width, 99)
        assert all(line == line.rstrip() for line in lines)
        assert name in words(lines)
        assert {word for word in one_line(said).split() if cell_len(word) <= 40} <= words(lines)


@pytest.mark.parametrize("width", [30, 40, 60, 79])
def test_a_narrow_terminal_keeps_its_width(width: int) -> None:
    long = "f1-" + "connection_exhaustion" * 2
    assert max(map(cell_len, shown(altered(long, "search", "x" * 300), width))) <= width


def test_a_table_that_is_too_wide_gives_its_first_column_a_line_of_its_own() -> None:
    rows = [["fault", "answers", "recall"], ["f1-connection_exhaustion", "12.3…12.5", "43.0…43.2"]]
    text = ["  ".join(cells).rstrip() for row in layout.table(rows, 30) for cells in row]
    assert text == ["fault", "  answers    recall", "f1-connection_exhaustion", "  12.3…12.5  43.0…43.2"]
    assert ["  ".join(cells).rstrip() for row in layout.table(rows, 99) for cells in row] == [
        "fault                     answers    recall",
        "f1-connection_exhaustion  12.3…12.5  43.0…43.2",
    ]
