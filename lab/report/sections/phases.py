"""The steps as they ran; in `report.json` only."""

from lab.report.blocks import JsonKey, Section
from lab.report.shapes import NUMBER, TEXT, VERDICT, list_of, object_of, or_null

_SCHEMA = list_of(
    object_of(
        name=TEXT,
        started_ms=NUMBER,
        ended_ms=or_null(NUMBER),
        verdict=VERDICT,
        others_cpu_share=or_null(NUMBER),
        cpu_waiting_share=or_null(NUMBER),
    )
)

SECTIONS = (Section("Phases", 350, key=JsonKey("phases", 100, _SCHEMA)),)
