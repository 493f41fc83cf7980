"""The verdict on a terminal: a tired engineer must understand it within ten seconds.

This module breaks all lines itself. So no line is longer than the terminal or than 99 columns, and nothing that a
target said becomes markup or a control sequence.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.text import Text

from lab.report import layout, wording
from lab.report.blocks import Block, Entry, Grid, Paragraph, Report
from lab.report.escaping import one_line
from lab.report.sections import discover

COLUMNS_MIN, COLUMNS_MAX = 30, 99
TEXT_CHARS_MAX = 2000
CELL_CHARS_MAX = 400
_INDENT = "  "
_GREY = "bright_black"
_COLOUR = {"pass": "green", "fail": "red", "inconclusive": "yellow", "not_tested": _GREY}


def render(report: Report, directory: Path, width: int = COLUMNS_MAX) -> Text:
    """The gate, then every section that has something to show, then the paths of the reports."""
    width = max(COLUMNS_MIN, min(width, COLUMNS_MAX))
    lines = list(_gate(report, width))
    for section in discover():
        blocks = section.terminal(report)
        if not blocks:
            continue
        lines.append(Text(""))
        lines += _texts(layout.wrap(section.title, width), f"bold {section.colour}")
        for block in blocks:
            lines += [
                Text(_INDENT).append_text(line)
                for line in _block(block, width - len(_INDENT), section.colour)
            ]
    lines.append(Text(""))
    for label, name in (("report    ", "report.json"), ("summary   ", "summary.md")):
        lines += _texts(layout.hanging(label, one_line(directory / name, TEXT_CHARS_MAX), width))
    for line in lines:
        line.rstrip()
    return Text("\n", no_wrap=True, overflow="ignore").join(lines)


def _texts(lines: Sequence[str], style: str = "default") -> list[Text]:
    return [Text(line, style=style) for line in lines]


def _gate(report: Report, width: int) -> Iterator[Text]:
    gate = report["gate"]
    badge = f" {gate.upper()} "
    first, *rest = layout.hanging(f"{badge}  ", wording.GATE[gate], width)
    head = Text(badge, style=f"bold reverse {_COLOUR[gate]}")
    yield head.append(first.removeprefix(badge), style=f"bold not reverse {_COLOUR[gate]}")
    yield from _texts(rest, f"bold {_COLOUR[gate]}")
    yield from _texts(layout.wrap(one_line(wording.verdict_line(report), TEXT_CHARS_MAX), width))
    if strict := wording.strict_verdict(report):
        yield from _texts(layout.wrap(strict, width), "bold")


def _block(block: Block, width: int, colour: str) -> Iterator[Text]:
    match block:
        case Paragraph():
            yield from _paragraph(block, width, colour)
        case Entry():
            yield from _entry(block, width)
        case Grid():
            yield from _grid(block, width)


def _paragraph(paragraph: Paragraph, width: int, colour: str) -> Iterator[Text]:
    style = "bold red" if paragraph.loud else _GREY if colour == _GREY else "default"
    yield from _texts(_wrapped(paragraph.text, width), style)
    if paragraph.detail:
        yield from _texts(layout.hanging(_INDENT, one_line(paragraph.detail, TEXT_CHARS_MAX), width), _GREY)


def _wrapped(text: str, width: int) -> list[str]:
    """The lines of a text. All but the first are indented, to show where the next text begins."""
    first, *_ = layout.wrap(one_line(text, TEXT_CHARS_MAX), width)
    rest = one_line(text, TEXT_CHARS_MAX).removeprefix(first).strip()
    return [first, *(layout.hanging(_INDENT, rest, width) if rest else [])]


def _entry(entry: Entry, width: int) -> Iterator[Text]:
    name, observed = one_line(entry.name, TEXT_CHARS_MAX), one_line(entry.observed)
    first, *rest = _wrapped(f"{name}: {observed}" if observed else name, width)
    head = Text(first, style="default")
    head.stylize("bold", 0, len(name))
    yield head
    yield from _texts(rest)
    for label, text in entry.facts:
        style = _GREY if label == "evidence" else "default"
        shown = layout.hanging(f"{_INDENT}{label:<9} ", one_line(text, TEXT_CHARS_MAX), width)
        yield from _texts(shown, style)


def _grid(grid: Grid, width: int) -> Iterator[Text]:
    cells = [[one_line(cell, CELL_CHARS_MAX) for cell in row] for row in (grid.columns, *grid.rows)]
    for number, lines in enumerate(layout.table(cells, width)):
        for line in lines:
            styles = [_GREY if number == 0 else _COLOUR.get(cell.strip(), "default") for cell in line]
            padding = " " * layout.GAP
            yield Text(padding).join(
                Text(cell, style=style) for cell, style in zip(line, styles, strict=True)
            )
