"""Reads a target's folder (`target.yaml`, `known-issues.yaml`) into a `Target`; docs/targets.md has the schema.

A target is data. Nothing from it is ever inserted into code, a shell command or a text: arguments are JSON, in which
each `{$var: NAME}` node is replaced by a value.
"""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from lab.errors import ScenarioError
from lab.model.target import Target
from lab.read.strict_yaml import Document, Problem, examined, read
from lab.read.targets.files import file_problems
from lab.read.targets.rules import issue_problems, target_problems
from lab.read.targets.shapes import ISSUES, TARGET, KnownIssueShape, TargetShape

__all__ = ["check_target", "load_target"]

T = TypeVar("T")


def load_target(folder: Path) -> Target:
    """The target in a folder; raises ScenarioError with the first problem."""
    target, found = _examine(folder)
    if target is None:
        rest = len(found) - 1
        raise found[0].as_error(f"{rest} more; `lab target check {folder}` lists them" if rest else "")
    return target


def check_target(folder: Path) -> list[str]:
    """All problems of a target folder, one sentence each; empty where there are none."""
    return [str(problem) for problem in (*_examine(folder)[1], *file_problems(folder))]


def _examine(folder: Path) -> tuple[Target | None, list[Problem]]:
    document, targets, problems = _read(folder / "target.yaml", TARGET)
    target = targets[0] if targets else None
    if target is not None:
        problems += target_problems(target, document)
    issues: list[KnownIssueShape] = []
    if (folder / "known-issues.yaml").exists():
        document, declared, issue_file_problems = _read(folder / "known-issues.yaml", ISSUES)
        problems += issue_file_problems
        issues = [issue for listed in declared for issue in listed]
        if target is not None:
            problems += issue_problems(issues, target, document)
    return (None if problems or target is None else _target(target, issues)), problems


def _read(path: Path, shape: TypeAdapter[T]) -> tuple[Document, list[T], list[Problem]]:
    """A file's document, a list with its value (empty where there are problems), and its problems."""
    try:
        document = read(path)
    except ScenarioError as error:
        problem = Problem(error.what, error.where, error.try_ or error.last_state)
        return Document(str(path), None), [], [problem]
    return (document, *examined(document, shape))


def _target(found: TargetShape, issues: list[KnownIssueShape]) -> Target:
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
        start_timeout_s=found.start_timeout_s,
        request_timeout_ms=round(found.request_timeout_s * 1000),
        mix=found.mix,
        operations={name: operation.value(name) for name, operation in found.operations.items()},
        canary=found.canary,
        recall=found.recall.operation,
        recall_mode=found.recall.mode,
        add=found.add,
        stored_document_id=tuple(found.stored_document_id),
        known_issues=tuple(issue.value() for issue in issues),
    )
