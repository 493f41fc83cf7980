"""The faults: what was measured of each, and how long the target needed afterwards."""

from collections.abc import Callable, Mapping, Sequence

from lab.report import wording
from lab.report.blocks import Block, JsonKey, Report, Row, Section, grid
from lab.report.shapes import NUMBER, TEXT, VERDICT, list_of, map_of, object_of, or_null

_CLOCK = object_of(lo_s=NUMBER, hi_s=or_null(NUMBER), censored={"type": "boolean"})
_CLOCKS = object_of(
    answers=or_null(_CLOCK), slo=or_null(_CLOCK), recall=or_null(_CLOCK), idle=or_null(_CLOCK)
)
_BACKLOG = object_of(
    waiting_load=NUMBER,
    waiting_lab=NUMBER,
    given_up_load=NUMBER,
    given_up_lab=NUMBER,
    unanswered=NUMBER,
    drained_s=or_null(NUMBER),
    answered_per_s=or_null(NUMBER),
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
            slower_limits_ms=map_of(NUMBER),
        ),
        backlog=or_null(_BACKLOG),
    )
)
# At any moment a call or two may wait for an answer, also where the target is well.
_ALWAYS_WAITING = 2


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
_BACKLOGS: Mapping[str, Callable[[Row], object]] = {
    "fault": lambda row: row["id"],
    "waiting at the heal": lambda row: _whose(row["backlog"], "waiting"),
    "given up before": lambda row: _whose(row["backlog"], "given_up"),
    "last one answered after": lambda row: wording.number(row["backlog"]["drained_s"], absent="—"),
    "answers per second": lambda row: wording.number(row["backlog"]["answered_per_s"], absent="—"),
    "limits above the SLO (ms)": lambda row: _limits(row["recovery"]["slower_limits_ms"]),
}


def _whose(backlog: Row, which: str) -> str:
    """How many calls, and how many of them are the load's and the lab's."""
    load, lab = backlog[f"{which}_load"], backlog[f"{which}_lab"]
    return f"{load + lab} ({load} load, {lab} lab)" if load + lab else "0"


def _limits(limits_ms: Row) -> str:
    return ", ".join(f"{name} {limit_ms:.0f}" for name, limit_ms in sorted(limits_ms.items())) or "none"


def _effects(report: Report) -> Sequence[Block]:
    return grid(_FAULTS, report["faults"])


def _recoveries(report: Report) -> Sequence[Block]:
    return grid(_RECOVERY, report["faults"])


def _backlogs(report: Report) -> Sequence[Block]:
    """Only the faults at whose heal more calls waited than usual, or that have limits of their own."""
    rows = [row for row in report["faults"] if row["backlog"] is not None]
    return grid(_BACKLOGS, [row for row in rows if _is_worth_a_row(row)])


def _is_worth_a_row(row: Row) -> bool:
    backlog = row["backlog"]
    waiting = backlog["waiting_load"] + backlog["waiting_lab"] > _ALWAYS_WAITING
    given_up = backlog["given_up_load"] + backlog["given_up_lab"] > 0
    return waiting or given_up or bool(row["recovery"]["slower_limits_ms"])


_RECOVERY_TITLE = (
    'Recovery in seconds from the heal ("detected after" and "total outage": from the injection)'
)

SECTIONS = (
    Section("Faults", 400, _effects, _effects, key=JsonKey("faults", 200, _SCHEMA)),
    Section(_RECOVERY_TITLE, 410, _recoveries, _recoveries),
    Section("What the recoveries had to work off", 415, _backlogs, _backlogs),
)
