"""The verdict on a terminal: a tired engineer must understand it within ten seconds.

Everything is `rich.text.Text` or escaped, so that nothing which a target said becomes markup or a control
sequence.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.report import wording
from lab.report.escaping import one_line

Row = Mapping[str, Any]
_COLOUR = {"pass": "green", "fail": "red", "inconclusive": "yellow", "not_tested": "bright_black"}


def render(report: Row, directory: Path) -> RenderableType:
    """The gate, the target's defects, what failed and why, what held, and what was not tested."""
    parts: list[RenderableType] = [_gate(report)]
    parts += _section("Defects of the target that it found", "red", _defects(report))
    parts += _section("Failed", "red", map(_finding, wording.failed(report)))
    parts += _section("Not decided", "yellow", map(_group, wording.by_reason(wording.undecided(report))))
    if report["faults"]:
        parts += _section("Faults", "default", [_faults(report["faults"])])
        parts += _section(wording.RECOVERY_TITLE, "default", [_recovery(report["faults"])])
    parts += _section("Held, but for known issues", "green", map(_finding, wording.excused(report)))
    parts += _section("Held", "green", [_held(wording.held(report))] if wording.held(report) else [])
    parts += _section("Not tested", "bright_black", map(_not_tested, wording.not_tested(report)))
    parts += _section("Gaps", "yellow", map(_gap, report["gaps"]))
    parts.append(
        _line(
            f"\nreport    {directory / 'report.json'}\nsummary   {directory / 'summary.md'}", keep_lines=True
        )
    )
    return Group(*parts)


def _gate(report: Row) -> Text:
    gate = report["gate"]
    text = Text(f" {gate.upper()} ", style=f"bold reverse {_COLOUR[gate]}")
    text.append(f"  {wording.GATE[gate]}\n", style=f"bold {_COLOUR[gate]}")
    text.append(one_line(wording.verdict_line(report)), style="default")
    if excuse := wording.without_excuses(report):
        text.append(f"\n{excuse}", style="bold")
    return text


def _section(title: str, colour: str, items: Iterable[RenderableType]) -> list[RenderableType]:
    shown = list(items)
    if not shown:
        return []
    return [Text(f"\n{title}", style=f"bold {colour}"), *(Padding(item, (0, 0, 0, 2)) for item in shown)]


def _defects(report: Row) -> Iterator[Text]:
    """Declared ones that were seen, then what is new, then what was declared and not seen again."""
    for times, explanation, date in wording.defects(report):
        text = Text(one_line(explanation, 600), style="default")
        yield text.append(f"\n  known since {one_line(date)}; {one_line(times)}", "bright_black")
    for finding in wording.failed(report):
        yield _line(f"NEW: {wording.name(finding)}, see below", "bold red")
    for issue in wording.issues(report, seen=False):
        yield _line(f"not seen this time: {issue['id']} ({issue['check']}, known since {issue['date']})")


def _finding(finding: Row) -> Text:
    text = Text(one_line(wording.name(finding)), style="bold")
    seen, limit = wording.observed(finding), wording.bound(finding)
    if seen:
        text.append(f"  {one_line(seen)}" + (f", must be {limit}" if limit else ""), style="default")
    text.append(f"\n  why       {one_line(finding['reason'], 600)}", style="default")
    if explained := wording.explained(finding):
        text.append(f"\n  explained {one_line(explained)}", style="default")
    return text.append(f"\n  evidence  {one_line(wording.evidence(finding))}", style="bright_black")


def _group(findings: Sequence[Row]) -> Text:
    """Findings that are undecided for one reason, said once."""
    if len(findings) == 1:
        return _finding(findings[0])
    text = Text(one_line(", ".join(map(wording.name, findings)), 2000), style="bold")
    return text.append(f"\n  why       {one_line(findings[0]['reason'], 600)}", style="default")


def _faults(rows: Sequence[Row]) -> Table:
    table = _table("fault", "on", "verdict", "before → in force → after")
    for row in rows:
        cells = (row["id"], row["target"], row["verdict"], wording.effect(row))
        table.add_row(*(_line(cell, _COLOUR.get(str(cell), "default")) for cell in cells))
    return table


def _recovery(rows: Sequence[Row]) -> Table:
    table = _table(*wording.RECOVERY, apart=1)
    for row in rows:
        table.add_row(*(_line(cell(row)) for cell in wording.RECOVERY.values()))
    return table


def _held(findings: Sequence[Row]) -> Table:
    table = _table("check", "observed", "bound", "n")
    for finding in findings:
        seen = wording.observed(finding) or finding["reason"]
        cells = (wording.name(finding), seen, wording.bound(finding), finding["n"])
        table.add_row(*(_line(cell) for cell in cells))
    return table


def _table(*columns: str, apart: int = 2) -> Table:
    """A table whose cells lose nothing where they are too long: they go on in the next line."""
    table = Table(box=None, pad_edge=False, header_style="bright_black", padding=(0, apart, 0, 0))
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    return table


def _not_tested(finding: Row) -> Text:
    return _line(f"{wording.name(finding)}: {finding['reason']}", "bright_black")


def _gap(gap: Row) -> Text:
    return _line(f"{gap['from_ms'] / 1000:.1f} to {gap['to_ms'] / 1000:.1f} s: {gap['why']}")


def _line(text: object, style: str = "default", *, keep_lines: bool = False) -> Text:
    shown = (
        "\n".join(one_line(line, 2000) for line in str(text).split("\n")) if keep_lines else one_line(text)
    )
    return Text(shown, style=style)
