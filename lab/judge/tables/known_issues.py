"""The declared known issues of the target, with how often each one occurred."""

from collections.abc import Sequence

from lab.judge.windows.known_issues import occurrences
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Finding

KEY = "known_issues"


def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
    """One row per declared issue, whether it occurred or not."""
    return occurrences(evidence, windows)
