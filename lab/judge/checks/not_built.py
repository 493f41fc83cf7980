"""Checks that the report has a place for and that the lab cannot judge yet. The report states this openly."""

from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Finding, not_tested

CHECK = "not_built"

_MISSING = (
    ("writes", "acknowledged", "a ledger of acknowledged writes that is read back after each fault"),
    ("memory", "growth_24h", "leak statistics over a soak of hours; ten minutes never decide in wall time"),
    ("memory_per_document", "target", "memory at several collection sizes"),
    ("load_10x", "target", "a scenario at ten times the normal rate"),
    ("connections", "1000", "a scenario that holds 1000 live sessions"),
    ("score", "run", "weights for every check of the mission"),
)


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One NOT_TESTED finding for each of these checks, with what it would need."""
    return [not_tested(check, subject, f"not built yet; needs {needs}") for check, subject, needs in _MISSING]
