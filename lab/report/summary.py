"""`summary.md`: the verdict first, then every section that has something to show in Markdown."""

from collections.abc import Sequence

from lab.report import wording
from lab.report.blocks import Block, Entry, Grid, Paragraph, Report
from lab.report.escaping import markdown
from lab.report.sections import discover

TEXT_CHARS_MAX = 1000


def render(report: Report) -> str:
    """The whole summary in Markdown; everything that stands in a report is escaped."""
    sections = [
        wording.lines([f"## {section.title}\n", *_rendered(blocks)])
        for section in discover()
        if (blocks := section.summary(report))
    ]
    return "\n".join([_verdict(report), *sections])


def _verdict(report: Report) -> str:
    gate = report["gate"]
    title = f"# {gate.upper()}: {wording.GATE[gate]}\n"
    return wording.lines([title, f"{_safe(wording.verdict_line(report))}.", wording.strict_verdict(report)])


def _safe(text: object) -> str:
    return markdown(text, TEXT_CHARS_MAX)


def _rendered(blocks: Sequence[Block]) -> list[str]:
    lines: list[str] = []
    for block in blocks:
        match block:
            case Paragraph():
                detail = f" ({_safe(block.detail)})" if block.detail else ""
                lines.append(f"- {_safe(block.text)}{detail}")
            case Entry():
                lines.append(_entry(block))
            case Grid():
                lines += _grid(block)
    return lines


def _entry(entry: Entry) -> str:
    head = f"- **{_safe(entry.name)}**" + (f": {_safe(entry.observed)}" if entry.observed else "")
    facts = [f"{label}: {_safe(text)}" for label, text in entry.facts]
    # Two spaces at a line's end keep what follows in the same item, on a line of its own.
    return "  \n  ".join([head, *facts])


def _grid(grid: Grid) -> list[str]:
    rows = [f"| {' | '.join(map(_safe, row))} |" for row in grid.rows]
    return [f"| {' | '.join(map(_safe, grid.columns))} |", f"|{'---|' * len(grid.columns)}", *rows]
