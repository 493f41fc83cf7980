"""The times in which something was not measured."""

from collections.abc import Sequence

from lab.report.blocks import Block, JsonKey, Paragraph, Report, Section
from lab.report.shapes import NUMBER, TEXT, list_of, object_of

_SCHEMA = list_of(object_of(from_ms=NUMBER, to_ms=NUMBER, why=TEXT))


def _gaps(report: Report) -> Sequence[Block]:
    return [
        Paragraph(f"{gap['from_ms'] / 1000:.1f} to {gap['to_ms'] / 1000:.1f} s: {gap['why']}")
        for gap in report["gaps"]
    ]


SECTIONS = (Section("Gaps", 1000, _gaps, _gaps, colour="yellow", key=JsonKey("gaps", 700, _SCHEMA)),)
