"""The faults: what was measured of each, and how long the target needed afterwards."""

from collections.abc import Callable, Mapping, Sequence

from lab.report import wording
from lab.report.blocks import Block, JsonKey, Report, Row, Section, grid
from lab.report.shapes import NUMBER, TEXT, VERDICT, list_of, object_of, or_null

_CLOCK = object_of(lo_s=NUMBER, hi_s=or_null(NUMBER), censored={"type": "boolean"})
_CLOCKS = object_of(
    answers=or_null(_CLOCK), slo=or_null(_CLOCK), recall=or_null(_CLOCK), idle=or_null(_CLOCK)
)
_SCHEMA = list_of(
    object_of(
        id=TEXT,
        kind=TEXT,
        target=TEXT,
        params={"type": "object"},
        injected_ms=or_null(NUMBER),
        proven_ms=or_null(NUMBER),
        healed_ms=or_null(NUMBER),
        effect=object_of(
            before=or_null(NUMBER),
            during=or_null(NUMBER),
            after=or_null(NUMBER),
            unit=or_null(TEXT),
            holds={"type": "boolean"},
        ),
        verdict=VERDICT,
        recovery=object_of(
            detected_s=or_null(NUMBER),
            detected=or_null(_CLOCK),
            from_heal=_CLOCKS,
            from_injection=_CLOCKS,
        ),
    )
)


def _from_heal(clock: str) -> Callable[[Row], str]:
    return lambda row: wording.clock(row["recovery"]["from_heal"][clock])


_FAULTS: Mapping[str, Callable[[Row], object]] = {
    "fault": lambda row: row["id"],
    "on": lambda row: row["target"],
    "verdict": lambda row: row["verdict"],
    "before → in force → after": wording.effect,
}
_RECOVERY: Mapping[str, Callable[[Row], object]] = {
    "fault": lambda row: row["id"],
    "detected after": lambda row: wording.detected(row["recovery"]),
    "answers": _from_heal("answers"),
    "in SLO": _from_heal("slo"),
    "recall": _from_heal("recall"),
    "store idle": _from_heal("idle"),
    "total outage": lambda row: wording.clock(row["recovery"]["from_injection"]["slo"]),
}


def _effects(report: Report) -> Sequence[Block]:
    return grid(_FAULTS, report["faults"])


def _recoveries(report: Report) -> Sequence[Block]:
    return grid(_RECOVERY, report["faults"])


_RECOVERY_TITLE = (
    'Recovery in seconds from the heal ("detected after" and "total outage": from the injection)'
)

SECTIONS = (
    Section("Faults", 400, _effects, _effects, key=JsonKey("faults", 200, _SCHEMA)),
    Section(_RECOVERY_TITLE, 410, _recoveries, _recoveries),
)
