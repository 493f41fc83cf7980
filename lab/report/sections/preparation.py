"""How long the preparation of the run took, and whether a kept copy of the store was used."""

from collections.abc import Sequence

from lab.report import wording
from lab.report.blocks import Block, JsonKey, Paragraph, Report, Section
from lab.report.shapes import NUMBER, TEXT, list_of, object_of, or_null

_SCHEMA = list_of(
    object_of(
        store=TEXT,
        why=TEXT,
        first_request_s=or_null(NUMBER),
        first_load_request_s=or_null(NUMBER),
        parts=list_of(object_of(part=TEXT, seconds=NUMBER)),
    )
)


def _preparation(report: Report) -> Sequence[Block]:
    return [
        Paragraph(
            f"from the command to the first request: {wording.number(row['first_request_s'])} s;"
            f" the store was {row['store']} ({row['why']})",
            ", ".join(f"{part['part']}: {wording.number(part['seconds'])} s" for part in row["parts"]),
        )
        for row in report["preparation"]
    ]


SECTIONS = (Section("Preparation", 1050, summary=_preparation, key=JsonKey("preparation", 750, _SCHEMA)),)
