"""Target folders: `target.yaml` and `known-issues.yaml` in, a `Target` out; docs/targets.md documents the schema.

A target is data. Nothing from it is ever interpolated into code, a shell or a text: arguments are JSON in which a
`{$var: NAME}` node stands for a value.
"""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Len
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

from lab import judge
from lab.errors import ScenarioError
from lab.model.quantities import parse_duration_s
from lab.model.samples import Layer
from lab.model.target import CONDITIONS, PAYLOADS, VARIABLES, Condition, KnownIssue, Operation, Target
from lab.strict_yaml import Document, Problem, examined, read

Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Json = dict[str, Any]
MESSAGE_MIN = 8
EXPLANATION_MIN = 20


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Condition(_Strict):
    path: Annotated[list[str | int], Len(0, 20)]
    absent: bool | None = None
    present: bool | None = None
    equals: Any = None
    at_least: float | None = None
    min_items: Annotated[int, Ge(0)] | None = None
    contains: Any = None

    @model_validator(mode="after")
    def _one_test(self) -> "_Condition":
        if len(self.tests()) != 1:
            raise ValueError(f"a condition has a path and exactly one of {', '.join(CONDITIONS)}")
        return self

    def tests(self) -> list[str]:
        return [name for name in CONDITIONS if name in self.model_fields_set]

    def value(self) -> Condition:
        (test,) = self.tests()
        return Condition(tuple(self.path), test, getattr(self, test))


class _Operation(_Strict):
    tool: Word
    arguments: Json
    payload: Annotated[str, StringConstraints(pattern=f"^({'|'.join(PAYLOADS)})$")] = "structured"
    success: Annotated[list[_Condition], Len(1, 20)]
    document_ids: Annotated[list[str | int], Len(0, 20)] = []

    def value(self, name: str) -> Operation:
        success = tuple(condition.value() for condition in self.success)
        return Operation(name, self.tool, self.arguments, self.payload, success, tuple(self.document_ids))


class _Collections(_Strict):
    truth: Word
    writes: Word


class _Rate(_Strict):
    normal_per_s: Annotated[float, Gt(0), Le(1000)]
    capacity_per_s: Annotated[float, Gt(0)]
    capacity_cpu_cores: Annotated[float, Gt(0)]


class _Recall(_Strict):
    operation: Word
    mode: Word


class _Target(_Strict):
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,60}$")]
    version: Word
    endpoint: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9/_.-]*$")]
    protocol_version: Annotated[str, StringConstraints(pattern=r"^2025-06-18$")]
    start_timeout: str = "60s"
    request_timeout: str = "10s"
    environment: dict[str, str] = {}
    collections: _Collections
    stored_document_id: Annotated[list[str | int], Len(1, 20)] = ["document_id"]
    rate: _Rate
    mix: dict[str, Annotated[int, Gt(0), Le(100)]]
    canary: Word
    recall: _Recall
    add: Word
    operations: Annotated[dict[str, _Operation], Field(min_length=1)]


class _KnownIssue(_Strict):
    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{2,60}$")]
    check: Word
    operation: Word
    layer: Word
    message: Annotated[str, StringConstraints(min_length=MESSAGE_MIN, max_length=300)]
    target_version: Word
    faults: list[Word] = []
    date: str
    explanation: Annotated[str, StringConstraints(min_length=EXPLANATION_MIN)]


_TARGET = TypeAdapter(_Target)
_ISSUES = TypeAdapter(list[_KnownIssue])


def load_target(folder: Path) -> Target:
    """The target in a folder; raises ScenarioError that names the first thing wrong with it."""
    target, found = _examine(folder)
    if target is None or found:
        first, rest = found[0], len(found) - 1
        raise ScenarioError(
            first.what,
            where=first.where,
            last_state=f"{rest} more; `lab target check {folder}` lists them" if rest else "",
            try_=first.try_,
        )
    return target


def check_target(folder: Path) -> list[str]:
    """Everything that is wrong with a target folder, one sentence each; empty when it is right."""
    try:
        return [str(problem) for problem in (*_examine(folder)[1], *_files(folder))]
    except ScenarioError as error:
        return [f"{error.where}: {error.what}" + (f"; {error.try_}" if error.try_ else "")]


def _examine(folder: Path) -> tuple[Target | None, list[Problem]]:
    document = read(folder / "target.yaml")
    shapes, problems = examined(document, _TARGET)
    if not shapes:
        return None, problems
    found = shapes[0]
    problems += _rules(found, document)
    issues: list[_KnownIssue] = []
    if (folder / "known-issues.yaml").is_file():
        known = read(folder / "known-issues.yaml")
        listed, wrong = examined(known, _ISSUES)
        issues = listed[0] if listed else []
        problems += [*wrong, *_issue_rules(issues, found, known)]
    return (_target(found, issues) if not problems else None), problems


def _target(found: _Target, issues: list[_KnownIssue]) -> Target:
    return Target(
        name=found.name,
        version=found.version,
        endpoint=found.endpoint,
        protocol_version=found.protocol_version,
        environment=found.environment,
        truth_collection=found.collections.truth,
        writes_collection=found.collections.writes,
        normal_rate_per_s=found.rate.normal_per_s,
        capacity_per_s=found.rate.capacity_per_s,
        capacity_cpu_cores=found.rate.capacity_cpu_cores,
        start_timeout_s=parse_duration_s(found.start_timeout),
        request_timeout_ms=round(parse_duration_s(found.request_timeout) * 1000),
        mix=found.mix,
        operations={name: operation.value(name) for name, operation in found.operations.items()},
        canary=found.canary,
        recall=found.recall.operation,
        recall_mode=found.recall.mode,
        add=found.add,
        stored_document_id=tuple(found.stored_document_id),
        known_issues=tuple(KnownIssue(**{**i.model_dump(), "faults": tuple(i.faults)}) for i in issues),
    )


def _rules(found: _Target, document: Document) -> Iterator[Problem]:
    """What a shape cannot say: sums, references, durations, variables."""
    operations = ", ".join(found.operations)
    named: list[tuple[tuple[str, ...], str]] = [
        (("canary",), found.canary),
        (("add",), found.add),
        (("recall", "operation"), found.recall.operation),
    ]
    for where, name in [*named, *((("mix", name), name) for name in found.mix)]:
        if name not in found.operations:
            yield Problem(f"there is no operation {name!r}", document.where(where), f"accepted: {operations}")
    if sum(found.mix.values()) != 100:
        yield Problem(f"the mix sums to {sum(found.mix.values())}, not 100", document.where(("mix",)))
    recall = found.operations.get(found.recall.operation)
    if recall is not None and not recall.document_ids:
        place = document.where(("operations", found.recall.operation))
        yield Problem("the recall operation needs document_ids, the path to the ids that it found", place)
    yield from _duration("start_timeout", found.start_timeout, document)
    yield from _duration("request_timeout", found.request_timeout, document)
    if found.collections.truth == found.collections.writes:
        yield Problem("truth and writes must be two collections", document.where(("collections",)))
    for name, operation in found.operations.items():
        for variable in _variables([operation.arguments, [c.model_dump() for c in operation.success]]):
            if variable not in VARIABLES:
                place = document.where(("operations", name))
                yield Problem(
                    f"there is no variable {variable!r}", place, f"accepted: {', '.join(VARIABLES)}"
                )


def _duration(key: str, text: str, document: Document) -> Iterator[Problem]:
    try:
        if not 0 < parse_duration_s(text) <= 600:
            yield Problem(f"{key} must lie between 0 and 10 minutes", document.where((key,)))
    except ValueError as error:
        yield Problem(f"{key}: {error}", document.where((key,)))


def _variables(node: Any) -> Iterator[object]:
    if isinstance(node, dict):
        if set(node) == {"$var"}:
            yield node["$var"]
        for item in node.values():
            yield from _variables(item)
    elif isinstance(node, list):
        for item in node:
            yield from _variables(item)


def _issue_rules(issues: list[_KnownIssue], target: _Target, document: Document) -> Iterator[Problem]:
    seen: set[str] = set()
    layers = [layer.value for layer in Layer if layer is not Layer.OK]
    for number, issue in enumerate(issues):
        choices = {"check": sorted(judge.discover()), "operation": list(target.operations), "layer": layers}
        for key, accepted in choices.items():
            if getattr(issue, key) not in accepted:
                where = document.where((number, key))
                yield Problem(
                    f"there is no {key} {getattr(issue, key)!r}", where, f"accepted: {', '.join(accepted)}"
                )
        if issue.id in seen:
            yield Problem(f"the id {issue.id!r} stands twice", document.where((number, "id")))
        seen.add(issue.id)
        yield from _narrow(issue, target, document, number)


def _narrow(issue: _KnownIssue, target: _Target, document: Document, number: int) -> Iterator[Problem]:
    """A known issue must stay narrow: literal words of one version's one failure, with the day it was seen."""
    if not re.search(r"[A-Za-z]{3}", issue.message) or "*" in issue.message:
        where = document.where((number, "message"))
        yield Problem("the message must be literal words of the failure, without wildcards", where)
    if issue.target_version != target.version:
        where = document.where((number, "target_version"))
        yield Problem(
            f"declared for version {issue.target_version}, but the target is {target.version}", where
        )
    try:
        date.fromisoformat(issue.date)
    except ValueError:
        yield Problem(f"{issue.date!r} is no date", document.where((number, "date")), "such as 2026-11-24")


def _files(folder: Path) -> Iterator[Problem]:
    """What must lie beside the YAML: a Dockerfile, and requirements pinned by hash, without addresses."""
    if not (folder / "Dockerfile").is_file():
        yield Problem("there is no Dockerfile", str(folder), "docs/targets.md has an example")
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if "==" in text and "--hash=" not in text:
            yield Problem("requirements are not pinned by hash", f"{path}:1", "pip-compile --generate-hashes")
        if re.search(r"^(-i|--index-url|--extra-index-url|--find-links)\b|://", text, re.MULTILINE):
            yield Problem("requirements name an address", f"{path}:1", "pip-compile --no-emit-index-url")
