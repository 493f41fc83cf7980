"""The findings by outcome: failed, not decided, excused, passed, not tested."""

from collections.abc import Iterable, Sequence

from lab.report import wording
from lab.report.blocks import Block, Entry, Paragraph, Report, Row, Section, grid


def _entry(finding: Row) -> Entry:
    measured, limit = wording.observed(finding), wording.bound(finding)
    observed = f"{measured}, must be {limit}" if measured and limit else measured
    facts = [("why", finding["reason"])]
    if explained := wording.explained(finding):
        facts.append(("explained", explained))
    facts.append(("evidence", wording.evidence(finding)))
    return Entry(wording.name(finding), observed, tuple(facts))


def _failed(report: Report) -> Sequence[Block]:
    return [_entry(finding) for finding in wording.by_gate(report, "fail")]


def _undecided(report: Report) -> Sequence[Block]:
    return [_entry(finding) for finding in wording.by_gate(report, "inconclusive")]


def _undecided_by_reason(report: Report) -> Sequence[Block]:
    """Findings that are undecided for the same reason stand together, and the reason is given once."""
    return [
        _entry(group[0])
        if len(group) == 1
        else Entry(", ".join(map(wording.name, group)), "", (("why", group[0]["reason"]),))
        for group in by_reason(wording.by_gate(report, "inconclusive"))
    ]


def by_reason(findings: Iterable[Row]) -> list[list[Row]]:
    """The findings in groups of one reason; those of `integrity` come first, because they explain the others."""
    groups: dict[str, list[Row]] = {}
    for finding in findings:
        groups.setdefault(finding["reason"], []).append(finding)
    return sorted(groups.values(), key=lambda group: group[0]["check"] != "integrity")


def _excused(report: Report) -> Sequence[Block]:
    return [_entry(finding) for finding in wording.excused(report)]


def _passed(report: Report) -> Sequence[Block]:
    columns = {
        "check": wording.name,
        "observed": lambda finding: wording.observed(finding) or finding["reason"],
        "bound": wording.bound,
        "n": lambda finding: finding["n"],
    }
    return grid(columns, wording.by_verdict(report, "pass"))


def _passed_with_evidence(report: Report) -> Sequence[Block]:
    columns = {
        "check": wording.name,
        "observed": wording.observed,
        "bound": wording.bound,
        "n": lambda finding: finding["n"],
        "evidence": wording.evidence,
    }
    return grid(columns, wording.by_verdict(report, "pass"))


def _not_tested(report: Report) -> Sequence[Block]:
    findings = wording.by_verdict(report, "not_tested")
    return [Paragraph(f"{wording.name(finding)}: {finding['reason']}") for finding in findings]


SECTIONS = (
    Section("Failed", 200, _failed, _failed, colour="red"),
    Section("Not decided", 300, _undecided_by_reason, _undecided, colour="yellow"),
    Section("Passed only because of declared known issues", 700, _excused, _excused, colour="green"),
    Section("Passed", 800, _passed, _passed_with_evidence, colour="green"),
    Section("Not tested", 900, _not_tested, _not_tested, colour="bright_black"),
)
