"""The memory series that were sampled; in `report.json` only, because no check judges them yet."""

from lab.report.blocks import JsonKey, Section
from lab.report.shapes import COUNT, INTERVAL, NUMBER, TEXT, VERDICT, list_of, object_of, or_null

_SCHEMA = list_of(
    object_of(
        container=TEXT,
        process=or_null(TEXT),
        metric=TEXT,
        pid=or_null(COUNT),
        started=or_null(NUMBER),
        segment=COUNT,
        verdict=VERDICT,
        growth_mb_per_24h=or_null(NUMBER),
        ci=or_null(INTERVAL),
        mde_mb_per_24h=or_null(NUMBER),
        samples=COUNT,
        duration_s=NUMBER,
    )
)

SECTIONS = (Section("Memory", 650, key=JsonKey("memory", 600, _SCHEMA)),)
