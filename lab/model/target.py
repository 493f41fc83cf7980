"""A server under test as data: what to call, with which arguments, and what counts as a *real* success.

The same rules are carried out by `k6/mcp.js`; `tests/contract` lays both side by side.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VARIABLES = ("query", "text", "document_id", "truth_collection", "writes_collection", "k")
PAYLOADS = ("structured", "json_text", "text")
CONDITIONS = ("absent", "present", "equals", "at_least", "min_items", "contains")
MESSAGE_CHARS_MAX = 300

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold of a payload: the value at `path` satisfies `test` against `operand`.

    `absent`/`present` look whether the path exists with a value other than null; `equals` compares JSON values;
    `at_least` a number; `min_items` the length of a list; `contains` membership in a list,
    a key of an object or a part of a text.
    """

    path: Path
    test: str
    operand: Any = True

    def describe(self) -> str:
        """The condition in words, as it stands in failure messages."""
        where = ".".join(str(step) for step in self.path) or "payload"
        return f"{where} {self.test} {canonical(self.operand)}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One tool call: `arguments` is JSON in which `{"$var": NAME}` stands for a value (never spliced into text)."""

    name: str
    tool: str
    arguments: Mapping[str, Any]
    payload: str
    success: tuple[Condition, ...]
    document_ids: Path = ()


@dataclass(frozen=True, slots=True)
class KnownIssue:
    """A declared defect of a target version, matched literally: `message` must be contained in the failure's message.

    `check` is the check whose findings it may explain (`errors`, `latency`, `accuracy`); `faults` limits it to
    requests sent while one of these fault kinds was in force or not yet recovered (empty: any time).
    """

    id: str
    check: str
    operation: str
    layer: str
    message: str
    target_version: str
    explanation: str
    date: str
    faults: tuple[str, ...] = ()

    def matches(
        self, *, check: str, operation: str, layer: str, message: str, faults: Collection[str]
    ) -> bool:
        """Whether this issue explains one failed observation; `faults` are the fault kinds that it fell under."""
        same = (check, operation, layer) == (self.check, self.operation, self.layer)
        return same and self.message in message and (not self.faults or any(f in self.faults for f in faults))


@dataclass(frozen=True, slots=True)
class Target:
    """A target folder's `target.yaml` and `known-issues.yaml`.

    `stored_document_id` is where the target puts a document's id in the payload that it stores.
    """

    name: str
    version: str
    endpoint: str
    protocol_version: str
    environment: Mapping[str, str]
    truth_collection: str
    writes_collection: str
    normal_rate_per_s: float
    capacity_per_s: float
    capacity_cpu_cores: float
    start_timeout_s: float
    request_timeout_ms: int
    mix: Mapping[str, int]
    operations: Mapping[str, Operation]
    canary: str
    recall: str
    recall_mode: str
    add: str
    stored_document_id: Path = ("document_id",)
    known_issues: tuple[KnownIssue, ...] = field(default=())


def canonical(value: Any) -> str:
    """A JSON value as compact text with sorted keys, the same in Python and in k6."""
    return json.dumps(_whole(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _whole(value: Any) -> Any:
    """The value with 1.0 written as 1, for JSON knows no difference and JavaScript shows none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """`template` with every `{"$var": NAME}` node replaced by its value; raises KeyError for an unknown name."""
    if isinstance(template, Mapping):
        if set(template) == {"$var"}:
            return values[template["$var"]]
        return {key: fill(item, values) for key, item in template.items()}
    if isinstance(template, Sequence) and not isinstance(template, str):
        return [fill(item, values) for item in template]
    return template


_MISSING = object()


def value_at(payload: Any, path: Path) -> Any:
    """The value at `path`, or a private marker where a step leads nowhere."""
    for step in path:
        if not _leads_on(payload, step):
            return _MISSING
        payload = payload[step]
    return payload


def _leads_on(payload: Any, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(payload, list) and -len(payload) <= step < len(payload)
    return isinstance(payload, Mapping) and step in payload


def values_at(payload: Any, path: Path) -> list[Any]:
    """All values at a path in which `*` stands for every item of a list."""
    if "*" not in path:
        found = value_at(payload, path)
        return [] if found is _MISSING else [found]
    star = path.index("*")
    items = value_at(payload, path[:star])
    if not isinstance(items, list):
        return []
    return [value for item in items for value in values_at(item, path[star + 1 :])]


def first_broken(payload: Any, conditions: Sequence[Condition], values: Mapping[str, Any]) -> str | None:
    """The message of the first condition that does not hold, or None when all hold.

    For a present value at an `absent` condition that is the value itself (the server's own words), otherwise the
    condition and what was found instead.
    """
    for condition in conditions:
        found = value_at(payload, condition.path)
        operand = fill(condition.operand, values)
        if _holds(found, condition.test, operand):
            continue
        if condition.test == "absent":
            return (found if isinstance(found, str) else canonical(found))[:MESSAGE_CHARS_MAX]
        said = Condition(condition.path, condition.test, operand).describe()
        shown = "nothing" if found is _MISSING else canonical(found)
        return f"expected {said}, found {shown}"[:MESSAGE_CHARS_MAX]
    return None


def _holds(found: Any, test: str, operand: Any) -> bool:
    there = found is not _MISSING and found is not None
    match test:
        case "absent":
            return not there
        case "present":
            return there
        case "equals":
            return there and canonical(found) == canonical(operand)
        case "at_least":
            return isinstance(found, (int, float)) and not isinstance(found, bool) and found >= operand
        case "min_items":
            return isinstance(found, list) and len(found) >= operand
        case _:
            return _contains(found, operand)


def _contains(found: Any, operand: Any) -> bool:
    if isinstance(found, list):
        return any(canonical(item) == canonical(operand) for item in found)
    return isinstance(found, Mapping | str) and isinstance(operand, str) and operand in found
