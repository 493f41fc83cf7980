"""The declared known issues of the target, with how often each one occurred in the whole run."""

from collections import Counter
from collections.abc import Iterator, Sequence

from lab.judge.windows.answers import asked_between
from lab.judge.windows.known_issues import ACCURACY, declared, explains_recall, explains_request
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Finding

KEY = "known_issues"


def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
    """One row per declared issue, whether it occurred or not."""
    plan = evidence.plan
    checks = sorted({issue.check for issue in plan.target.known_issues})
    counts = Counter(issue for check in checks for issue in _explained(evidence, windows, check))
    return [
        {
            "id": issue.id,
            "check": issue.check,
            "operation": issue.operation,
            "faults": list(issue.faults),
            "n": counts[issue.id],
            "seen": counts[issue.id] > 0,
            "explanation": issue.explanation,
            "date": issue.date,
            "target_version": issue.target_version,
        }
        for issue in sorted(plan.target.known_issues, key=lambda issue: (issue.id, issue.check))
    ]


def _explained(evidence: Evidence, windows: Windows, check: str) -> Iterator[str | None]:
    """For each observation of a check, the id of the issue that explains it, if one does."""
    plan, issues = evidence.plan, declared(evidence.plan, check)
    if check == ACCURACY:
        for query in asked_between(evidence, float("-inf"), float("inf")):
            yield explains_recall(issues, plan, query, windows.kinds_at(query.sent_ms))
    else:
        for request in evidence.samples.requests:
            yield explains_request(issues, check, request, windows.kinds_at(request.scheduled_ms))
