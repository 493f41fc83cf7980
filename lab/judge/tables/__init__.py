"""The descriptive tables of a report: what was seen, window by window, judged nowhere but in the findings."""

from collections.abc import Callable, Mapping, Sequence

from lab.judge.tables import accuracy, faults, gaps, load, memory, phases
from lab.judge.windows.known_issues import census
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Finding

Row = Mapping[str, object]
Describe = Callable[[Evidence, Windows, Sequence[Finding]], Sequence[Row]]


def _known_issues(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> Sequence[Row]:
    return census(evidence, windows)


TABLES: Mapping[str, Describe] = {
    "phases": phases.describe,
    "faults": faults.describe,
    "load": load.describe,
    "accuracy": accuracy.describe,
    "memory": memory.describe,
    "gaps": gaps.describe,
    "known_issues": _known_issues,
}
