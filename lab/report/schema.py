"""The JSON schema of `report.json`, as `lab schema report` publishes it.

Keys may be added within one version of the contract, so unknown ones are allowed; none is ever left out.
"""

from typing import Any

from lab.report.report_json import SCHEMA

Schema = dict[str, Any]

_VERDICT: Schema = {"enum": ["pass", "fail", "inconclusive", "not_tested"]}
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


_INTERVAL: Schema = {"type": "array", "items": _or_null(_NUMBER), "minItems": 2, "maxItems": 2}
_CLOCK = _object(lo_s=_NUMBER, hi_s=_or_null(_NUMBER), censored={"type": "boolean"})
_CLOCKS = _object(
    answers=_or_null(_CLOCK), slo=_or_null(_CLOCK), recall=_or_null(_CLOCK), idle=_or_null(_CLOCK)
)
_RECOVERY = _object(
    detected_s=_or_null(_NUMBER), detected=_or_null(_CLOCK), from_heal=_CLOCKS, from_injection=_CLOCKS
)

_FINDING = _object(
    check=_TEXT,
    subject=_TEXT,
    verdict=_VERDICT,
    gate_verdict=_VERDICT,
    observed=_or_null(_NUMBER),
    unit=_or_null(_TEXT),
    ci=_or_null(_INTERVAL),
    bound=_or_null(_object(op={"enum": ["<", "<=", ">", ">="]}, value=_NUMBER)),
    n=_COUNT,
    reason=_TEXT,
    evidence=_list(_TEXT),
    known_issues=_list(_object(id=_TEXT, n=_COUNT)),
)
_FAULT = _object(
    id=_TEXT,
    kind=_TEXT,
    target=_TEXT,
    params={"type": "object"},
    injected_ms=_or_null(_NUMBER),
    proven_ms=_or_null(_NUMBER),
    healed_ms=_or_null(_NUMBER),
    effect=_object(
        before=_or_null(_NUMBER),
        during=_or_null(_NUMBER),
        after=_or_null(_NUMBER),
        unit=_or_null(_TEXT),
        holds={"type": "boolean"},
    ),
    verdict=_VERDICT,
    recovery=_RECOVERY,
)
_LOAD = _object(
    window=_TEXT,
    phase=_TEXT,
    fault=_or_null(_TEXT),
    op=_TEXT,
    n=_COUNT,
    ok=_COUNT,
    late=_COUNT,
    dropped=_COUNT,
    errors=_map(_COUNT),
    p50_ms=_or_null(_NUMBER),
    p95_ms=_or_null(_NUMBER),
    p95_ci=_INTERVAL,
    p99_ms=_or_null(_NUMBER),
)
_RECALLED = {"answered": _COUNT, "unanswered": _COUNT, "recall_mean": _or_null(_NUMBER)}
_ACCURACY = _object(
    subject=_TEXT,
    mode=_TEXT,
    **_RECALLED,
    recall_ci=_or_null(_INTERVAL),
    recall_p10=_or_null(_NUMBER),
    windows=_list(_object(window=_TEXT, **_RECALLED)),
)
_WRITES = _object(
    acknowledged=_COUNT,
    verified=_COUNT,
    lost=_COUNT,
    phantom=_COUNT,
    torn=_COUNT,
    duplicated=_COUNT,
    unknown=_COUNT,
)
_MEMORY = _object(
    container=_TEXT,
    process=_or_null(_TEXT),
    metric=_TEXT,
    pid=_or_null(_COUNT),
    started=_or_null(_NUMBER),
    verdict=_VERDICT,
    growth_mb_per_24h=_or_null(_NUMBER),
    ci=_or_null(_INTERVAL),
    mde_mb_per_24h=_or_null(_NUMBER),
    samples=_COUNT,
    duration_s=_NUMBER,
)
_KNOWN_ISSUE = _object(
    id=_TEXT,
    check=_TEXT,
    n=_COUNT,
    seen={"type": "boolean"},
    explanation=_TEXT,
    date=_TEXT,
    target_version=_TEXT,
)
_HOST = _object(
    cpus=_COUNT,
    memory_bytes=_COUNT,
    cgroup={"type": ["integer", "string"]},
    capabilities=_map({"type": "boolean"}),
)

REPORT: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "report.json of the chaos-and-soak lab",
    **_object(
        schema={"const": SCHEMA},
        run_id=_or_null(_TEXT),
        campaign=_TEXT,
        seed={"type": "integer"},
        started_at=_or_null(_TEXT),
        ended_at=_or_null(_TEXT),
        duration_s=_or_null(_NUMBER),
        lab_version=_or_null(_TEXT),
        target=_object(name=_TEXT, version=_TEXT),
        images=_list(
            _object(service=_TEXT, ref=_TEXT, digest=_TEXT, source={"enum": ["local", "registry", "built"]})
        ),
        host=_or_null(_HOST),
        truth=_or_null({"type": "object"}),
        verdict={"enum": ["pass", "fail", "inconclusive"]},
        gate={"enum": ["pass", "fail", "inconclusive"]},
        score=_or_null({"type": "number", "minimum": 0, "maximum": 100}),
        coverage={"type": "number", "minimum": 0, "maximum": 1},
        grade=_or_null(_TEXT),
        interrupted={"type": "boolean"},
        phases=_list(_object(name=_TEXT, started_ms=_NUMBER, ended_ms=_or_null(_NUMBER), verdict=_VERDICT)),
        findings=_list(_FINDING),
        faults=_list(_FAULT),
        load=_list(_LOAD),
        accuracy=_list(_ACCURACY),
        writes=_or_null(_WRITES),
        memory=_list(_MEMORY),
        gaps=_list(_object(from_ms=_NUMBER, to_ms=_NUMBER, why=_TEXT)),
        known_issues=_list(_KNOWN_ISSUE),
    ),
}  # fmt: skip
