"""Known issues, the declared defects of the target: and which failures each explains."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from lab.model.plan import Plan
from lab.model.samples import Layer, Recall, Request
from lab.model.target import KnownIssue
from lab.model.verdict import KnownIssueCount

ACCURACY = "accuracy"
# How these requests would have ended is unknown, so no defect of the target can explain them.
UNSETTLED = (Layer.UNSENT, Layer.LOST)


def declared(plan: Plan, check: str) -> tuple[KnownIssue, ...]:
    """The issues that may explain failures under one check.

    An issue for another version of the target, or without a message, explains nothing.
    """
    version = plan.target.version
    mine = [issue for issue in plan.target.known_issues if issue.check == check]
    return tuple(issue for issue in mine if issue.target_version == version and issue.message)


def explains_request(
    issues: Sequence[KnownIssue], check: str, request: Request, faults: Collection[str]
) -> str | None:
    """The id of the issue that explains a failed request; None if no issue does."""
    if not issues or request.ok or request.layer in UNSETTLED:
        return None
    return _first(issues, check, request.op, request.layer, request.message, faults)


def explains_recall(
    issues: Sequence[KnownIssue], plan: Plan, row: Recall, faults: Collection[str]
) -> str | None:
    """The id of the issue that explains an answer which broke a condition; None if no issue does."""
    if not issues or not row.answered or row.layer is Layer.OK:
        return None
    return _first(issues, ACCURACY, plan.target.recall, row.layer, row.message, faults)


def _first(
    issues: Sequence[KnownIssue],
    check: str,
    operation: str,
    layer: Layer,
    message: str,
    faults: Collection[str],
) -> str | None:
    for issue in issues:
        if issue.matches(check=check, operation=operation, layer=layer.value, message=message, faults=faults):
            return issue.id
    return None


def counted(ids: Iterable[str | None]) -> tuple[KnownIssueCount, ...]:
    """How many observations each issue explains, by id."""
    counts = Counter(issue for issue in ids if issue is not None)
    return tuple(KnownIssueCount(issue, counts[issue]) for issue in sorted(counts))
