"""The load of each window and operation."""

from collections.abc import Callable, Mapping, Sequence

from lab.report import wording
from lab.report.blocks import Block, JsonKey, Report, Row, Section, grid
from lab.report.shapes import COUNT, INTERVAL, NUMBER, TEXT, list_of, map_of, object_of, or_null

_SCHEMA = list_of(
    object_of(
        window=TEXT,
        phase=TEXT,
        fault=or_null(TEXT),
        op=TEXT,
        n=COUNT,
        ok=COUNT,
        late=COUNT,
        dropped=COUNT,
        errors=map_of(COUNT),
        p50_ms=or_null(NUMBER),
        p95_ms=or_null(NUMBER),
        p95_ci=INTERVAL,
        p99_ms=or_null(NUMBER),
    )
)


def _failures(row: Row) -> str:
    """Failed requests by the layer at which they failed."""
    return ", ".join(f"{n} {layer}" for layer, n in row["errors"].items()) or "0"


_COLUMNS: Mapping[str, Callable[[Row], object]] = {
    "window": lambda row: row["window"],
    "operation": lambda row: row["op"],
    "due": lambda row: row["n"],
    "right": lambda row: wording.percent(row["ok"], row["n"]),
    "late": lambda row: row["late"],
    "not sent": lambda row: row["dropped"],
    "failed": _failures,
    "P50 ms": lambda row: wording.number(row["p50_ms"]),
    "P95 ms": lambda row: wording.number(row["p95_ms"]),
    "95 % interval": lambda row: wording.interval(row["p95_ci"]),
    "P99 ms": lambda row: wording.number(row["p99_ms"]),
}


def _load(report: Report) -> Sequence[Block]:
    return grid(_COLUMNS, report["load"])


SECTIONS = (Section("Load", 500, summary=_load, key=JsonKey("load", 300, _SCHEMA)),)
