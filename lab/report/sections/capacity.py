"""What this machine could answer: the line that says how much of it the load and the lab took."""

from collections.abc import Sequence

from lab.report import wording
from lab.report.blocks import Block, JsonKey, Paragraph, Report, Section, grid
from lab.report.shapes import COUNT, NUMBER, TEXT, list_of, object_of

_OPERATION = object_of(
    op=TEXT,
    mix_percent=NUMBER,
    observer_hz=NUMBER,
    calls_per_s=NUMBER,
    latency_ms=NUMBER,
    cpu_ms=NUMBER,
    calls=COUNT,
)
_SCHEMA = list_of(
    object_of(
        words=TEXT,
        mix_per_s=NUMBER,
        side_by_side=NUMBER,
        took_s=NUMBER,
        short={"type": "boolean"},
        load_per_s=NUMBER,
        load_share=NUMBER,
        observer_share=NUMBER,
        operations=list_of(_OPERATION),
    )
)


def _line(report: Report) -> Sequence[Block]:
    return [Paragraph(f"this machine: {row['words']}") for row in report["capacity"]]


def _table(report: Report) -> Sequence[Block]:
    columns = {
        "operation": lambda row: row["op"],
        "of the mix": lambda row: f"{row['mix_percent']:g} %",
        "asked by the lab": lambda row: f"{wording.number(row['observer_hz'])}/s",
        "calls/s at most": lambda row: wording.number(row["calls_per_s"]),
        "median ms": lambda row: wording.number(row["latency_ms"]),
        "CPU ms": lambda row: wording.number(row["cpu_ms"]),
        "calls": lambda row: row["calls"],
    }
    return [
        block
        for row, line in zip(report["capacity"], _line(report), strict=True)
        for block in (line, *grid(columns, row["operations"]))
    ]


SECTIONS = (
    Section("Capacity, measured before the load", 360, _line, _table, key=JsonKey("capacity", 120, _SCHEMA)),
)
