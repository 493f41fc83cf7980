"""The words of a report, shared by all that people read; made from `report.json` alone, so that any reader
could.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lab.model.quantities import format_duration

Row = Mapping[str, Any]
Columns = Mapping[str, Callable[[Row], object]]

# A finding whose unit begins so is shown in percent.
_SHARE = "share"
GATE = {
    "pass": "nothing but declared known issues failed",
    "fail": "something failed that no declared known issue explains",
    "inconclusive": "not everything that is required could be decided",
}


def verdict_line(report: Row) -> str:
    """What the run was and how much of it could be decided."""
    target, took = report["target"], report["duration_s"]
    lasted = "an unknown time" if took is None else format_duration(round(took))
    decided = sum(finding["verdict"] in ("pass", "fail") for finding in report["findings"])
    return (
        f"{report['campaign']} on {target['name']} {target['version']}, seed {report['seed']}, {lasted}; "
        f"{decided} of {len(report['findings'])} findings decided"
        + (", INTERRUPTED" if report["interrupted"] else "")
    )


def without_excuses(report: Row) -> str:
    """What the verdict is when known issues count as well, where that differs from the gate."""
    if report["verdict"] == report["gate"]:
        return ""
    return f"Without excusing known issues the verdict is {report['verdict'].upper()}."


def failed(report: Row) -> list[Row]:
    """Findings that fail the gate."""
    return [finding for finding in report["findings"] if finding["gate_verdict"] == "fail"]


def undecided(report: Row) -> list[Row]:
    """Findings that should have been decided and were not."""
    return [finding for finding in report["findings"] if finding["gate_verdict"] == "inconclusive"]


def by_reason(findings: Iterable[Row]) -> list[list[Row]]:
    """Findings in groups of one reason, those about the whole run first: they explain the others."""
    groups: dict[str, list[Row]] = {}
    for finding in findings:
        groups.setdefault(finding["reason"], []).append(finding)
    return sorted(groups.values(), key=lambda group: group[0]["check"] != "integrity")


def excused(report: Row) -> list[Row]:
    """Findings that pass the gate and fail or are undecided only for what known issues explain."""
    return [f for f in report["findings"] if f["gate_verdict"] == "pass" and f["verdict"] != "pass"]


def held(report: Row) -> list[Row]:
    """Findings that pass outright."""
    return [finding for finding in report["findings"] if finding["verdict"] == "pass"]


def not_tested(report: Row) -> list[Row]:
    """Findings of which the plan said beforehand that they would not be decided."""
    return [finding for finding in report["findings"] if finding["verdict"] == "not_tested"]


def issues(report: Row, *, seen: bool) -> list[Row]:
    """Declared known issues that this run has seen, or has not."""
    return [issue for issue in report["known_issues"] if issue["seen"] is seen]


def defects(report: Row) -> list[tuple[str, str, str]]:
    """Known issues that were seen, as (ids and counts, explanation, date): one entry however many checks one
    touches.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for issue in issues(report, seen=True):
        times = f"{issue['id']}: {issue['n']}x in {issue['check']}"
        found.setdefault((issue["explanation"], issue["date"]), []).append(times)
    return [(", ".join(times), explanation, date) for (explanation, date), times in found.items()]


def name(finding: Row) -> str:
    """A finding's name."""
    return f"{finding['check']} / {finding['subject']}"


def number(value: object, *, infinite: str = "never") -> str:
    """A number as people read it; null stands for what did not come to an end."""
    return f"{value:.4g}" if isinstance(value, (int, float)) else infinite


def interval(ends: Sequence[object]) -> str:
    """Both ends of an interval."""
    return " … ".join(number(end, infinite="∞") for end in ends)


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
    """The bound, or nothing."""
    limit = finding["bound"]
    if limit is None:
        return ""
    share = (finding["unit"] or "").startswith(_SHARE)
    return (
        f"{limit['op']} {limit['value']:.4g}" if not share else f"{limit['op']} {limit['value'] * 100:.4g}%"
    )


def evidence(finding: Row) -> str:
    """Where the evidence is, a few places of it."""
    places: Sequence[str] = finding["evidence"]
    more = f" and {len(places) - 4} more" if len(places) > 4 else ""
    return ", ".join(places[:4]) + more if places else "no evidence"


def explained(finding: Row) -> str:
    """What known issues explain in a finding."""
    return ", ".join(f"{issue['n']} by {issue['id']}" for issue in finding["known_issues"])


def clock(found: Row | None) -> str:
    """One recovery clock in seconds, rounded outwards so that it still holds the truth."""
    if found is None:
        return "—"
    if found["censored"]:
        return f"≥ {_seconds(found['lo_s'], math.floor)}"
    return f"{_seconds(found['lo_s'], math.floor)}…{_seconds(found['hi_s'], math.ceil)}"


def noticed(recovery: Row) -> str:
    """When harm first showed; a target that never gave a bad answer was not seen to be hurt."""
    found = recovery["detected"]
    return "no" if found is not None and found["censored"] else clock(found)


def _seconds(value: float, rounded: Callable[[float], int]) -> str:
    """Two decimals below ten seconds, one above; what six digits could not hold is no reason to round up."""
    digits = 2 if value < 10 else 1
    return f"{rounded(round(value * 10**digits, 3)) / 10**digits:.{digits}f}"


def effect(row: Row) -> str:
    """A fault's measured effect."""
    seen = row["effect"]
    moments = " → ".join("—" if seen[m] is None else number(seen[m]) for m in ("before", "during", "after"))
    return f"{moments} {seen['unit'] or ''}".strip() + ("" if seen["holds"] else " (not proven)")


def percent(part: float, whole: float) -> str:
    """A share, or a dash where there is no whole."""
    return f"{part / whole:.1%}" if whole else "—"


def errors(row: Row) -> str:
    """Failures by layer."""
    return ", ".join(f"{n} {layer}" for layer, n in row["errors"].items()) or "0"


def lines(items: Iterable[str]) -> str:
    """Lines that are not empty, each ended."""
    return "".join(f"{item}\n" for item in items)


def _from_heal(which: str) -> Callable[[Row], str]:
    return lambda row: clock(row["recovery"]["from_heal"][which])


# Narrow, so that it stands on a terminal of 80 columns.
RECOVERY_TITLE = "Recovery, in seconds after the heal (noticed and in all: after the injection)"
RECOVERY: Columns = {
    "fault": lambda row: row["id"],
    "noticed": lambda row: noticed(row["recovery"]),
    "answers": _from_heal("answers"),
    "in SLO": _from_heal("slo"),
    "recall": _from_heal("recall"),
    "idle": _from_heal("idle"),
    "in all": lambda row: clock(row["recovery"]["from_injection"]["slo"]),
}
