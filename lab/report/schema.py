"""The JSON schema of `report.json`, as `lab schema report` publishes it.

Keys may be added within one version of the contract, so unknown ones are allowed; none is ever left out.
"""

from lab.report.report_json import SCHEMA
from lab.report.sections import json_keys
from lab.report.shapes import (
    COUNT,
    INTERVAL,
    NUMBER,
    TEXT,
    VERDICT,
    Schema,
    list_of,
    map_of,
    object_of,
    or_null,
)

_GATE: Schema = {"enum": ["pass", "fail", "inconclusive"]}
_FINDING = object_of(
    check=TEXT,
    subject=TEXT,
    verdict=VERDICT,
    gate_verdict=VERDICT,
    observed=or_null(NUMBER),
    unit=or_null(TEXT),
    ci=or_null(INTERVAL),
    bound=or_null(object_of(op={"enum": ["<", "<=", ">", ">="]}, value=NUMBER)),
    n=COUNT,
    reason=TEXT,
    evidence=list_of(TEXT),
    known_issues=list_of(object_of(id=TEXT, n=COUNT)),
)
_HOST = object_of(
    cpus=COUNT,
    memory_bytes=COUNT,
    cgroup={"type": ["integer", "string"]},
    capabilities=map_of({"type": "boolean"}),
)
_IMAGE = object_of(service=TEXT, ref=TEXT, digest=TEXT, source={"enum": ["local", "registry", "built"]})


def report_schema() -> Schema:
    """The whole schema: what every report has, and the keys that its sections bring."""
    head = object_of(
        schema={"const": SCHEMA},
        run_id=or_null(TEXT),
        campaign=TEXT,
        seed={"type": "integer"},
        started_at=or_null(TEXT),
        ended_at=or_null(TEXT),
        duration_s=or_null(NUMBER),
        lab_version=or_null(TEXT),
        target=object_of(name=TEXT, version=TEXT),
        images=list_of(_IMAGE),
        host=or_null(_HOST),
        truth=or_null({"type": "object"}),
        verdict=_GATE,
        gate=_GATE,
        score=or_null({"type": "number", "minimum": 0, "maximum": 100}),
        coverage={"type": "number", "minimum": 0, "maximum": 1},
        grade=or_null(TEXT),
        interrupted={"type": "boolean"},
        findings=list_of(_FINDING),
    )
    keys = {key.name: dict(key.schema) for key in json_keys()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "report.json of the chaos-and-soak lab",
        "type": "object",
        "properties": {**head["properties"], **keys},
        "required": [*head["required"], *keys],
    }
