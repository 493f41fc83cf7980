"""Words that the sections of a report share. They are made from the values of `report.json` alone."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lab.model.quantities import format_duration

Row = Mapping[str, Any]

# A finding whose unit begins so is shown in percent.
_SHARE = "share"
EVIDENCE_PLACES = 4
GATE = {
    "pass": "nothing failed except declared known issues",
    "fail": "something failed that no declared known issue explains",
    "inconclusive": "not everything that is required could be decided",
}


def verdict_line(report: Row) -> str:
    """What the run was, and how many of its findings could be decided."""
    target, took = report["target"], report["duration_s"]
    lasted = "an unknown time" if took is None else format_duration(round(took))
    decided = sum(finding["verdict"] in ("pass", "fail") for finding in report["findings"])
    return (
        f"{report['campaign']} on {target['name']} {target['version']}, seed {report['seed']}, {lasted}; "
        f"{decided} of {len(report['findings'])} findings decided"
        + (", INTERRUPTED" if report["interrupted"] else "")
    )


def strict_verdict(report: Row) -> str:
    """The verdict that counts known issues as failures too; empty where it is the same as the gate's."""
    if report["verdict"] == report["gate"]:
        return ""
    return f"Without excusing known issues the verdict is {report['verdict'].upper()}."


def by_gate(report: Row, verdict: str) -> list[Row]:
    """The findings with this verdict at the gate."""
    return [finding for finding in report["findings"] if finding["gate_verdict"] == verdict]


def by_verdict(report: Row, verdict: str) -> list[Row]:
    """The findings with this verdict when everything counts."""
    return [finding for finding in report["findings"] if finding["verdict"] == verdict]


def excused(report: Row) -> list[Row]:
    """The findings that pass the gate only because known issues explain why they fail or are undecided."""
    return [finding for finding in by_gate(report, "pass") if finding["verdict"] != "pass"]


def name(finding: Row) -> str:
    """A finding's check and subject."""
    return f"{finding['check']} / {finding['subject']}"


def number(value: object, *, absent: str = "never") -> str:
    """A number with four digits; `absent` stands for null, which `report.json` has for what never ended."""
    return f"{value:.4g}" if isinstance(value, (int, float)) else absent


def interval(ends: Sequence[object]) -> str:
    """Both ends of an interval."""
    return " … ".join(number(end, absent="∞") for end in ends)


def observed(finding: Row) -> str:
    """The observed value with its interval and unit."""
    if finding["observed"] is None and finding["ci"] is None:
        return ""
    unit, ci = finding["unit"] or "", finding["ci"]
    if unit.startswith(_SHARE):
        between = "" if ci is None else f" [{ci[0]:.2%} … {ci[1]:.2%}]"
        return f"{finding['observed']:.2%}{between} {unit.removeprefix(_SHARE).strip()}".strip()
    between = "" if ci is None else f" [{interval(ci)}]"
    return f"{number(finding['observed'])}{between} {unit}".strip()


def bound(finding: Row) -> str:
    """The bound of a finding; empty where it has none."""
    limit = finding["bound"]
    if limit is None:
        return ""
    if (finding["unit"] or "").startswith(_SHARE):
        return f"{limit['op']} {limit['value'] * 100:.4g}%"
    return f"{limit['op']} {limit['value']:.4g}"


def evidence(finding: Row) -> str:
    """Where the evidence is: the first few places, and how many more there are."""
    places: Sequence[str] = finding["evidence"]
    more = len(places) - EVIDENCE_PLACES
    listed = ", ".join(places[:EVIDENCE_PLACES])
    return (listed + (f" and {more} more" if more > 0 else "")) if places else "no evidence"


def explained(finding: Row) -> str:
    """How many observations of a finding each known issue explains."""
    return ", ".join(f"{issue['n']} by {issue['id']}" for issue in finding["known_issues"])


def clock(found: Row | None) -> str:
    """One recovery clock in seconds, rounded outwards so that the true time is still inside."""
    if found is None:
        return "—"
    if found["censored"]:
        return f"≥ {_seconds(found['lo_s'], math.floor)}"
    return f"{_seconds(found['lo_s'], math.floor)}…{_seconds(found['hi_s'], math.ceil)}"


def detected(recovery: Row) -> str:
    """How long after the injection the first bad answer came."""
    found = recovery["detected"]
    return "no bad answer" if found is not None and found["censored"] else clock(found)


def _seconds(value: float, rounded: Callable[[float], int]) -> str:
    # Two decimals below ten seconds, else one. The inner rounding removes what six significant digits could not hold.
    digits = 2 if value < 10 else 1
    return f"{rounded(round(value * 10**digits, 3)) / 10**digits:.{digits}f}"


def effect(row: Row) -> str:
    """What was measured of a fault before, while and after it was in force."""
    measured = row["effect"]
    moments = " → ".join(number(measured[moment], absent="—") for moment in ("before", "during", "after"))
    return f"{moments} {measured['unit'] or ''}".strip() + ("" if measured["holds"] else " (not proven)")


def percent(part: float, whole: float) -> str:
    """A share in percent; a dash where there is no whole."""
    return f"{part / whole:.1%}" if whole else "—"


def lines(items: Iterable[str]) -> str:
    """The items that are not empty, each as a line."""
    return "".join(f"{item}\n" for item in items if item)
