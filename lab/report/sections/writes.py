"""The ledger of acknowledged writes: a key of `report.json` that is null until the lab has one."""

from lab.report.blocks import JsonKey, Section
from lab.report.shapes import COUNT, object_of, or_null

_SCHEMA = or_null(
    object_of(
        acknowledged=COUNT,
        verified=COUNT,
        lost=COUNT,
        phantom=COUNT,
        torn=COUNT,
        duplicated=COUNT,
        unknown=COUNT,
    )
)

SECTIONS = (Section("Writes", 550, key=JsonKey("writes", 500, _SCHEMA, empty=None)),)
