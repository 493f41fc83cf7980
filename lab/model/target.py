"""A server under test as data: which tools to call, with which arguments, and what counts as a *real* success.

`k6/mcp.js` implements the same rules; `tests/contract` compares both.
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
    """One condition on a payload: the value at `path` must pass `test` with `operand`.

    `absent` and `present` test whether the path exists with a value other than null. `equals` compares JSON values,
    `at_least` numbers, `min_items` the length of a list. `contains` finds an item of a list, a key of an object or a
    part of a text.
    """

    path: Path
    test: str
    operand: Any = True

    def describe(self) -> str:
        """The condition in words, as failure messages show it."""
        where = ".".join(str(step) for step in self.path) or "payload"
        return f"{where} {self.test} {canonical(self.operand)}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One tool call. `arguments` is JSON in which each `{"$var": NAME}` is replaced by a value, never by text."""

    name: str
    tool: str
    arguments: Mapping[str, Any]
    payload: str
    success: tuple[Condition, ...]
    document_ids: Path = ()


@dataclass(frozen=True, slots=True)
class KnownIssue:
    """A declared defect of a target version. It matches literally: the failure's message must contain `message`.

    `check` is the check whose findings it may explain (`errors`, `latency`, `accuracy`). `faults` limits it to requests
    that were sent while a fault of these kinds was in force or not yet recovered from; empty means at any time.
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
        """Whether this issue explains one failed observation; `faults` are the fault kinds at that time."""
        same = (check, operation, layer) == (self.check, self.operation, self.layer)
        return same and self.message in message and (not self.faults or any(f in self.faults for f in faults))


@dataclass(frozen=True, slots=True)
class Target:
    """A target folder's `target.yaml` and `known-issues.yaml`.

    `stored_document_id` is the path to a document's id in the payload that the target stores.
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

    @property
    def needing_the_store(self) -> frozenset[str]:
        """The operations that nobody can answer without the store: those that search or add a text."""
        carrying = (
            name for name, found in self.operations.items() if uses(found.arguments, ("query", "text"))
        )
        return frozenset({self.add, self.recall, *carrying})


def canonical(value: Any) -> str:
    """A JSON value as compact text with sorted keys, the same in Python and in k6."""
    return json.dumps(_whole(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _whole(value: Any) -> Any:
    """The value with 1.0 written as 1, because JSON and JavaScript do not distinguish them."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """`template` with each `{"$var": NAME}` node replaced by its value; raises KeyError for an unknown name."""
    if isinstance(template, Mapping):
        if set(template) == {"$var"}:
            return values[template["$var"]]
        return {key: fill(item, values) for key, item in template.items()}
    if isinstance(template, Sequence) and not isinstance(template, str):
        return [fill(item, values) for item in template]
    return template


def uses(template: Any, variables: Collection[str]) -> bool:
    """Whether one of these variables stands in a template."""
    if isinstance(template, Mapping):
        if set(template) == {"$var"}:
            return template["$var"] in variables
        return any(uses(item, variables) for item in template.values())
    if isinstance(template, Sequence) and not isinstance(template, str):
        return any(uses(item, variables) for item in template)
    return False


_MISSING = object()


def value_at(payload: Any, path: Path) -> Any:
    """The value at `path`, or a private marker where the path does not exist."""
    for step in path:
        if not _has_step(payload, step):
            return _MISSING
        payload = payload[step]
    return payload


def _has_step(payload: Any, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(payload, list) and -len(payload) <= step < len(payload)
    return isinstance(payload, Mapping) and step in payload


def values_at(payload: Any, path: Path) -> list[Any]:
    """All values at a path in which `*` means every item of a list."""
    if "*" not in path:
        found = value_at(payload, path)
        return [] if found is _MISSING else [found]
    star = path.index("*")
    items = value_at(payload, path[:star])
    if not isinstance(items, list):
        return []
    return [value for item in items for value in values_at(item, path[star + 1 :])]


def first_broken(payload: Any, conditions: Sequence[Condition], values: Mapping[str, Any]) -> str | None:
    """The message of the first condition that does not hold, or None where all hold.

    Where a value is present and must be `absent`, the message is that value (usually the server's error text). In other
    cases it is the condition and the value that was found.
    """
    for condition in conditions:
        found = value_at(payload, condition.path)
        operand = fill(condition.operand, values)
        if _holds(found, condition.test, operand):
            continue
        if condition.test == "absent":
            return (found if isinstance(found, str) else canonical(found))[:MESSAGE_CHARS_MAX]
        expected = Condition(condition.path, condition.test, operand).describe()
        shown = "nothing" if found is _MISSING else canonical(found)
        return f"expected {expected}, found {shown}"[:MESSAGE_CHARS_MAX]
    return None


def _holds(found: Any, test: str, operand: Any) -> bool:
    present = found is not _MISSING and found is not None
    match test:
        case "absent":
            return not present
        case "present":
            return present
        case "equals":
            return present and canonical(found) == canonical(operand)
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
