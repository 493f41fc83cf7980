"""The schema of `target.yaml` and `known-issues.yaml`: which keys there are, and of which type."""

import re
from datetime import date
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

from lab.model.quantities import parse_duration_s
from lab.model.target import CONDITIONS, PAYLOADS, Condition, KnownIssue, Operation

EXCUSABLE_CHECKS = ("errors", "latency", "accuracy")
EXCUSABLE_LAYERS = ("transport", "http_status", "jsonrpc", "is_error", "payload")
TIMEOUT_MAX_S = 600.0


def _one_of(*accepted: str) -> AfterValidator:
    def check(text: str) -> str:
        if text not in accepted:
            raise ValueError(f"must be one of {', '.join(accepted)}")
        return text

    return AfterValidator(check)


def _timeout(text: str) -> str:
    if not 0 < parse_duration_s(text) <= TIMEOUT_MAX_S:
        raise ValueError(f"must lie between 0 and {TIMEOUT_MAX_S / 60:g} minutes")
    return text


def _literal_words(text: str) -> str:
    """A known issue must stay narrow: a pattern, or text that many messages share, would hide other failures."""
    if "*" in text or not re.search(r"[^\W\d_]{3}", text):
        raise ValueError("must be literal words of the failure, without wildcards")
    return text


def _day(text: str) -> str:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("is no date such as 2026-11-24")
    date.fromisoformat(text)
    return text


def _something(value: Any) -> Any:
    if value is None:
        raise ValueError("null can never hold; test with `absent: true`")
    return value


def _no_star(path: list[str | int]) -> list[str | int]:
    if "*" in path:
        raise ValueError("'*' is for document_ids alone; a condition tests one value")
    return path


Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Path = Annotated[list[str | int], Len(0, 20)]
OnePath = Annotated[Path, AfterValidator(_no_star)]
Json = Annotated[Any, AfterValidator(_something)]
Timeout = Annotated[str, AfterValidator(_timeout)]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class ConditionShape(_Strict):
    """A path and exactly one test. The test is the field that was set; the default values have no meaning."""

    path: OnePath
    absent: Literal[True] = True
    present: Literal[True] = True
    equals: Json = True
    at_least: float = 0.0
    min_items: Annotated[int, Ge(0)] = 0
    contains: Json = True

    @model_validator(mode="after")
    def _one_test(self) -> "ConditionShape":
        if len(self.tests()) != 1:
            raise ValueError(f"a condition has a path and exactly one of {', '.join(CONDITIONS)}")
        return self

    def tests(self) -> list[str]:
        """The tests that the file states."""
        return [name for name in CONDITIONS if name in self.model_fields_set]

    def value(self) -> Condition:
        """The condition as the rest of the lab knows it."""
        (test,) = self.tests()
        return Condition(tuple(self.path), test, getattr(self, test))


class OperationShape(_Strict):
    """One tool call."""

    tool: Word
    arguments: dict[str, Any]
    payload: Annotated[str, _one_of(*PAYLOADS)] = "structured"
    success: Annotated[list[ConditionShape], Len(1, 20)]
    document_ids: Path = []

    def value(self, name: str) -> Operation:
        """The operation as the rest of the lab knows it."""
        success = tuple(condition.value() for condition in self.success)
        return Operation(name, self.tool, self.arguments, self.payload, success, tuple(self.document_ids))


class _Collections(_Strict):
    truth: Word
    writes: Word


class _Rate(_Strict):
    normal_per_s: Annotated[float, Gt(0), Le(1000)]
    capacity_per_s: Annotated[float, Gt(0), Le(1e6)]
    capacity_cpu_cores: Annotated[float, Gt(0), Le(1024)]


class _Recall(_Strict):
    operation: Word
    mode: Word


class TargetShape(_Strict):
    """The whole of `target.yaml`."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,60}$")]
    version: Word
    endpoint: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9/_.-]{0,200}$")]
    protocol_version: Annotated[str, _one_of("2025-06-18")]
    start_timeout: Timeout = "60s"
    request_timeout: Timeout = "10s"
    environment: dict[Variable, str] = {}
    collections: _Collections
    stored_document_id: Annotated[OnePath, Len(1, 20)] = ["document_id"]
    rate: _Rate
    mix: Annotated[dict[str, Annotated[int, Gt(0), Le(100)]], Field(min_length=1)]
    canary: Word
    recall: _Recall
    add: Word
    operations: Annotated[dict[str, OperationShape], Field(min_length=1)]

    @property
    def start_timeout_s(self) -> float:
        """Seconds that the server may take until it answers."""
        return parse_duration_s(self.start_timeout)

    @property
    def request_timeout_s(self) -> float:
        """Seconds after which a request has failed."""
        return parse_duration_s(self.request_timeout)


class KnownIssueShape(_Strict):
    """One entry of `known-issues.yaml`."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{2,60}$")]
    check: Annotated[str, _one_of(*EXCUSABLE_CHECKS)]
    operation: Word
    layer: Annotated[str, _one_of(*EXCUSABLE_LAYERS)]
    message: Annotated[str, StringConstraints(min_length=8, max_length=300), AfterValidator(_literal_words)]
    target_version: Word
    faults: list[Word] = []
    date: Annotated[str, AfterValidator(_day)]
    explanation: Annotated[str, StringConstraints(min_length=20, max_length=2000)]

    def value(self) -> KnownIssue:
        """The issue as the rest of the lab knows it."""
        return KnownIssue(**{**self.model_dump(), "faults": tuple(self.faults)})


TARGET = TypeAdapter(TargetShape)
ISSUES = TypeAdapter(list[KnownIssueShape])
