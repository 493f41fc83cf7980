"""How long it took from the command to the first request, and what of that each part of the preparation took."""

from collections.abc import Sequence
from itertools import islice

from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.verdict import Finding

KEY = "preparation"
# The first requests that were due may not have been sent.
ROWS_READ = 1000


def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
    """One row for the preparation of the run; none for an older run, whose journal does not know it."""
    prepared = evidence.journal.first("prepared")
    return [] if prepared is None else [_row(prepared, evidence)]


def _row(prepared: Event, evidence: Evidence) -> dict[str, object]:
    began_ms = float(prepared.data["command_began_ms"])
    sent_ms = [r.sent_ms for r in islice(evidence.samples.requests, ROWS_READ) if r.sent_ms is not None]
    return {
        "store": prepared.data["store"],
        "why": prepared.data["why"],
        "first_request_s": prepared.data["first_request_s"],
        "first_load_request_s": (min(sent_ms) - began_ms) / 1000 if sent_ms else None,
        "parts": list(prepared.data["parts"]),
    }
