"""A new section of the report, and a new table of the judge, are one file each."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.judge import judge, tables
from lab.report import report_json, sections, summary, terminal
from lab.report.schema import report_schema
from tests.pure.evidence_factory import make

TABLE = """
'''A table.'''
KEY = "weather"

def describe(evidence, windows, found):
    return [{"sky": "blue", "findings": len(found)}]
"""
SECTION = """
'''A section.'''
from lab.report.blocks import JsonKey, Paragraph, Section
from lab.report.shapes import COUNT, TEXT, list_of, object_of

def _weather(report):
    return [Paragraph(f"the sky was {row['sky']}") for row in report["weather"]]

SECTIONS = (
    Section("Weather", 450, _weather, _weather, key=JsonKey(KEY, 250, list_of(object_of(sky=TEXT, findings=COUNT)))),
)
"""


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules count as sections and as tables."""
    for package in (sections, tables):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / package.__name__)])
        (tmp_path / package.__name__).mkdir()
    yield tmp_path
    for package in (sections, tables):
        sys.modules.pop(f"{package.__name__}.weather", None)


def add(folder: Path, package: Any, text: str) -> None:
    (folder / package.__name__ / "weather.py").write_text(text, encoding="utf-8")


def built() -> dict[str, Any]:
    run = make()
    return report_json.build(run, judge(run))


def test_a_table_and_its_section_are_shown_everywhere_without_another_edit(added: Path) -> None:
    before = list(built())
    add(added, tables, TABLE)
    add(added, sections, SECTION.replace("KEY", '"weather"'))
    report = built()
    assert report["weather"] == [{"sky": "blue", "findings": len(report["findings"])}]
    at = before.index("faults") + 1
    assert list(report) == [*before[:at], "weather", *before[at:]]
    assert "weather" in report_schema()["required"]
    text = terminal.render(report, Path("runs/latest")).plain
    assert text.index("\nFaults") < text.index("\nWeather\n  the sky was blue") < text.index("\nPassed")
    assert "## Weather\n\n- the sky was blue\n" in summary.render(report)


def test_a_section_without_its_table_is_empty_and_not_shown(added: Path) -> None:
    add(added, sections, SECTION.replace("KEY", '"weather"'))
    assert built()["weather"] == []
    assert "Weather" not in summary.render(built())


def test_two_of_one_key_are_refused(added: Path) -> None:
    add(added, sections, SECTION.replace("KEY", '"faults"'))
    add(added, tables, TABLE.replace("weather", "faults"))
    with pytest.raises(ValueError, match="key 'faults'"):
        sections.discover()
    with pytest.raises(ValueError, match="key 'faults'"):
        tables.discover()


def test_every_table_has_a_key_in_the_report() -> None:
    keys = {key.name for key in sections.json_keys()}
    assert set(tables.discover()) <= keys
    assert keys - set(tables.discover()) == {"writes"}, "the lab has no ledger of writes yet"


def test_sections_have_one_order() -> None:
    orders = [section.order for section in sections.discover()]
    assert orders == sorted(set(orders))
    orders = [key.order for key in sections.json_keys()]
    assert orders == sorted(set(orders))
