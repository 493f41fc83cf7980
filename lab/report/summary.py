"""`summary.md`: the verdict first, then what failed, why, and where the evidence is."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.report import wording
from lab.report.escaping import markdown as safe

Row = Mapping[str, Any]
Columns = wording.Columns


def render(report: Row) -> str:
    """The whole summary in Markdown; everything that stands in a report is escaped."""
    parts = [
        _verdict(report),
        _findings("Failed", wording.failed(report)),
        _findings("Not decided", wording.undecided(report)),
        _known_issues(report),
        _not_tested(report),
        _table("Faults", _FAULTS, report["faults"]),
        _table(wording.RECOVERY_TITLE, wording.RECOVERY, report["faults"]),
        _table("Load", _LOAD, report["load"]),
        _table("Accuracy", _ACCURACY, report["accuracy"]),
        _table("Held", _HELD, wording.held(report)),
        _gaps(report),
        _provenance(report),
    ]
    return "\n".join(part for part in parts if part)


def _verdict(report: Row) -> str:
    gate = report["gate"]
    title = f"# {gate.upper()}: {wording.GATE[gate]}\n"
    return wording.lines([title, f"{safe(wording.verdict_line(report))}.", wording.without_excuses(report)])


def _findings(title: str, findings: Sequence[Row]) -> str:
    if not findings:
        return ""
    return wording.lines([f"## {title}\n", *(_finding(finding) for finding in findings)])


def _finding(finding: Row) -> str:
    said = [f"- **{safe(wording.name(finding))}**: {safe(finding['reason'], 1000)}"]
    if seen := wording.observed(finding):
        limit = wording.bound(finding)
        said.append(f"observed {safe(seen)}" + (f", must be {safe(limit)}" if limit else ""))
    if explained := wording.explained(finding):
        said.append(f"explained: {safe(explained)}")
    said.append(f"evidence: {safe(wording.evidence(finding))}")
    # Two spaces at a line's end keep what follows in the same item, on a line of its own.
    return "  \n  ".join(said)


def _known_issues(report: Row) -> str:
    if not report["known_issues"]:
        return ""
    seen = [
        f"- {safe(explanation, 1000)} (known since {safe(date)}; {safe(times)})"
        for times, explanation, date in wording.defects(report)
    ]
    gone = [
        f"- not seen: {safe(issue['id'])} ({safe(issue['check'])}), known since {safe(issue['date'])}"
        for issue in wording.issues(report, seen=False)
    ]
    excused = [
        f"- {safe(wording.name(finding))} passes only without them: {safe(wording.observed(finding))}"
        f" ({finding['verdict']}), {safe(finding['reason'], 1000)}"
        for finding in wording.excused(report)
    ]
    return wording.lines(["## Defects of the target that are declared\n", *seen, *gone, *excused])


def _not_tested(report: Row) -> str:
    findings = wording.not_tested(report)
    told = [f"- {safe(wording.name(finding))}: {safe(finding['reason'])}" for finding in findings]
    return wording.lines(["## Not tested\n", *told]) if told else ""


def _gaps(report: Row) -> str:
    told = [
        f"- {g['from_ms'] / 1000:.1f} to {g['to_ms'] / 1000:.1f} s: {safe(g['why'])}" for g in report["gaps"]
    ]
    return wording.lines(["## Gaps\n", *told]) if told else ""


def _provenance(report: Row) -> str:
    run, lab, started = (safe(report[key]) for key in ("run_id", "lab_version", "started_at"))
    images = [
        f"- {safe(image['service'])}: {safe(image['ref'])} ({safe(image['source'])}, {safe(image['digest'])})"
        for image in report["images"]
    ]
    beside = (
        "- evidence beside this file: journal.jsonl, samples.sqlite, load/, logs/; all numbers: report.json"
    )
    head = ["## Where this comes from\n", f"- run {run}, lab {lab}, started {started}"]
    return wording.lines([*head, *images, beside])


def _table(title: str, columns: Columns, rows: Iterable[Row]) -> str:
    cells = [" | ".join(safe(cell(row)) for cell in columns.values()) for row in rows]
    if not cells:
        return ""
    head = [f"## {title}\n", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return wording.lines([*head, *(f"| {row} |" for row in cells)])


_FAULTS: Columns = {
    "fault": lambda row: row["id"],
    "on": lambda row: row["target"],
    "verdict": lambda row: row["verdict"],
    "before → in force → after": wording.effect,
}
_LOAD: Columns = {
    "window": lambda row: row["window"],
    "operation": lambda row: row["op"],
    "due": lambda row: row["n"],
    "right": lambda row: wording.percent(row["ok"], row["n"]),
    "late": lambda row: row["late"],
    "not sent": lambda row: row["dropped"],
    "failed": wording.errors,
    "P50 ms": lambda row: wording.number(row["p50_ms"]),
    "P95 ms": lambda row: wording.number(row["p95_ms"]),
    "95 % interval": lambda row: wording.interval(row["p95_ci"]),
    "P99 ms": lambda row: wording.number(row["p99_ms"]),
}
_ACCURACY: Columns = {
    "subject": lambda row: row["subject"],
    "mode": lambda row: row["mode"],
    "answered": lambda row: wording.percent(row["answered"], row["answered"] + row["unanswered"]),
    "answers": lambda row: row["answered"],
    "mean recall": lambda row: wording.number(row["recall_mean"], infinite="—"),
    "95 % interval": lambda row: "—" if row["recall_ci"] is None else wording.interval(row["recall_ci"]),
    "worst tenth": lambda row: wording.number(row["recall_p10"], infinite="—"),
}
_HELD: Columns = {
    "check": wording.name,
    "observed": wording.observed,
    "bound": wording.bound,
    "n": lambda row: row["n"],
    "evidence": wording.evidence,
}
