"""`report.json`: the contract that other programs read (see `schema`)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lab.model.encodable import encodable
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.quantities import round_significant
from lab.model.verdict import Bound, Finding, Interval, Judgement
from lab.report.sections import json_keys

SCHEMA = "chaos-soak-lab/report/1"
# Where the findings stand among the keys that sections bring.
FINDINGS_ORDER = 150


def build(evidence: Evidence, judgement: Judgement) -> dict[str, Any]:
    """The whole report as plain JSON values. The same evidence gives the same values.

    Numbers have 6 significant digits. Infinite ones are null, such as the latency of a request that never ended.
    """
    report = {
        **_head(evidence),
        "verdict": judgement.verdict.value,
        "gate": judgement.gate.value,
        "score": None,
        "coverage": judgement.coverage,
        "grade": None,
        "interrupted": judgement.interrupted,
        **_keys(judgement),
    }
    return {key: _plain(value) for key, value in report.items()}


def dumps(report: Mapping[str, Any]) -> str:
    """The report as text: keys in the order of the contract, indented by two spaces, one newline at the end."""
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _head(evidence: Evidence) -> dict[str, Any]:
    """Facts about the run, from the first and the last event of the journal; null where these are missing."""
    plan, journal = evidence.plan, evidence.journal
    started, ended = journal.first("run_started"), journal.last("run_ended")
    facts = {} if started is None else started.data
    return {
        "schema": SCHEMA,
        "run_id": facts.get("run_id"),
        "campaign": plan.campaign,
        "seed": plan.seed,
        "started_at": None if started is None else started.wall,
        "ended_at": None if ended is None else ended.wall,
        "duration_s": _duration_s(journal.events),
        "lab_version": facts.get("lab_version"),
        "target": {"name": plan.target.name, "version": plan.target.version},
        "images": _images(facts.get("images")),
        "host": facts.get("host"),
        "truth": facts.get("truth"),
    }


def _keys(judgement: Judgement) -> dict[str, Any]:
    """The findings, and the judge's tables under the keys that the sections bring, in the order of the file."""
    findings = [_finding(finding) for finding in judgement.findings]
    values: list[tuple[int, str, Any]] = [(FINDINGS_ORDER, "findings", findings)]
    for key in json_keys():
        table = judgement.tables.get(key.name)
        values.append((key.order, key.name, key.empty if table is None else table))
    return {name: value for _, name, value in sorted(values, key=lambda value: value[0])}


def _duration_s(events: Sequence[Event]) -> float | None:
    return (events[-1].at_ms - events[0].at_ms) / 1000 if events else None


def _images(images: object) -> list[dict[str, Any]]:
    keys = ("service", "ref", "digest", "source")
    listed = images if isinstance(images, list) else []
    return [{key: image.get(key) for key in keys} for image in listed if isinstance(image, Mapping)]


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "subject": finding.subject,
        "verdict": finding.verdict.value,
        "gate_verdict": finding.gate_verdict.value,
        "observed": finding.observed,
        "unit": finding.unit,
        "ci": _ends(finding.ci),
        "bound": _bound(finding.bound),
        "n": finding.n,
        "reason": finding.reason,
        "evidence": list(finding.evidence),
        "known_issues": [{"id": issue.id, "n": issue.n} for issue in finding.known_issues],
    }


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.lo, interval.hi]


def _bound(bound: Bound | None) -> dict[str, Any] | None:
    return None if bound is None else {"op": bound.op, "value": bound.value}


def _plain(value: Any) -> Any:
    """The value as plain JSON: floats rounded, text encodable, any mapping an object and any sequence a list."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, float):
        return round_significant(value)
    if isinstance(value, Mapping):
        return {encodable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return value
