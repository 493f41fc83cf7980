"""YAML read strictly: every error names file, line, column and what would have been accepted.

PyYAML composes nodes, which know their lines; the values are built here, without coercion, anchors or tags; pydantic
checks them, and its error locations are mapped back to the lines of the nodes.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from lab.errors import ScenarioError

BYTES_MAX = 256 * 1024
DEPTH_MAX = 20
NODES_MAX = 20_000
SHOWN_CHARS = 80

T = TypeVar("T")
Location = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """Plain values, and the place of each: `places` maps a location in the value to (line, column), from 1."""

    source: str
    value: Any
    places: Mapping[Location, tuple[int, int]] = field(default_factory=dict)

    def where(self, location: Location = ()) -> str:
        """`file:line:column` of a location, or of the nearest one above it that stands in the text."""
        while location and location not in self.places:
            location = location[:-1]
        line, column = self.places.get(location, (1, 1))
        return f"{self.source}:{line}:{column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document."""

    what: str
    where: str
    try_: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"; {self.try_}" if self.try_ else "")


class _Plain(yaml.SafeLoader):
    """A loader of nodes only: no aliases, so that a small text stays a small value."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not accepted", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


def read(path: Path) -> Document:
    """Read a file; raises ScenarioError for one that cannot be read or is not plain YAML."""
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise ScenarioError("the file cannot be read", where=f"{path}:1", last_state=str(error)) from error
    return parse(data, str(path))


def parse(data: bytes, source: str) -> Document:
    """Parse YAML bytes into plain values with their places; raises ScenarioError, whatever the bytes are."""
    if len(data) > BYTES_MAX:
        raise ScenarioError(
            f"more than {BYTES_MAX // 1024} KiB", where=f"{source}:1", try_="cut it into several files"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ScenarioError("not UTF-8", where=f"{source}:{line}", try_="save it as UTF-8") from error
    try:
        loader = _Plain(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"{mark.line + 1}:{mark.column + 1}" if mark else "1"
        what = error.problem or error.context or "not YAML"
        raise ScenarioError(f"not YAML as accepted here: {what}", where=f"{source}:{at}") from None
    except (yaml.YAMLError, ValueError) as error:
        position = getattr(error, "position", 0) or 0
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        raise ScenarioError(
            "not YAML", where=f"{source}:{line}", last_state=str(error).splitlines()[0]
        ) from None
    except RecursionError:
        raise ScenarioError(f"nested deeper than {DEPTH_MAX} levels", where=f"{source}:1") from None
    places: dict[Location, tuple[int, int]] = {}
    return Document(source, _value(node, (), places, source), places)


def _value(node: Any, location: Location, places: dict[Location, tuple[int, int]], source: str) -> Any:
    if node is None:
        return None
    mark = node.start_mark
    at = f"{source}:{mark.line + 1}:{mark.column + 1}"
    places[location] = (mark.line + 1, mark.column + 1)
    if len(location) > DEPTH_MAX or len(places) > NODES_MAX:
        raise ScenarioError(
            f"nested deeper than {DEPTH_MAX} levels, or more than {NODES_MAX} values", where=at
        )
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, location, places, source)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*location, number), places, source) for number, item in enumerate(node.value)]
    return _scalar(node, at)


def _mapping(
    node: yaml.MappingNode, location: Location, places: dict[Location, tuple[int, int]], source: str
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        mark = key_node.start_mark
        at = f"{source}:{mark.line + 1}:{mark.column + 1}"
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
            raise ScenarioError("a key must be a plain word", where=at)
        if key_node.value in found:
            raise ScenarioError(
                f"the key {key_node.value!r} stands twice", where=at, try_="remove one of them"
            )
        inside = (*location, key_node.value)
        found[key_node.value] = _value(value_node, inside, places, source)
        places[inside] = (mark.line + 1, mark.column + 1)
    return found


def _scalar(node: yaml.ScalarNode, at: str) -> Any:
    known = ("str", "int", "float", "bool", "null")
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind == "timestamp":
        return node.value
    if kind not in known:
        raise ScenarioError(
            f"the tag {node.tag!r} is not accepted", where=at, try_="write plain values without tags"
        )
    if kind == "str":
        return node.value
    try:
        value = yaml.safe_load(node.value)
    except (yaml.YAMLError, ValueError):
        raise ScenarioError(
            f"{_shown(node.value)} is not a number", where=at, try_="quote it if it is text"
        ) from None
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise ScenarioError(f"{_shown(node.value)} is not a finite number", where=at)
    return value


def checked(document: Document, shape: TypeAdapter[T]) -> T:
    """The document as a value of `shape`; raises ScenarioError that names the first problem and counts the rest."""
    values, found = examined(document, shape)
    if values:
        return values[0]
    first, rest = found[0], len(found) - 1
    more = f"{rest} more problem{'s' if rest > 1 else ''} in this file" if rest else ""
    raise ScenarioError(first.what, where=first.where, last_state=more, try_=first.try_)


def examined(document: Document, shape: TypeAdapter[T]) -> tuple[list[T], list[Problem]]:
    """The value as the only item of a list, or an empty one and everything that is wrong with the document."""
    try:
        return [strictly(document.value, shape)], []
    except ValidationError as error:
        return [], list(problems(document, error.errors(include_url=False), keys_of(shape)))


def strictly(value: Any, shape: TypeAdapter[T]) -> T:
    """Plain values as a `shape`, nothing coerced; raises ValidationError.

    By way of JSON, for in Python mode a strict dataclass is accepted as an instance only.
    """
    return shape.validate_json(json.dumps(value), strict=True)


def problems(
    document: Document, errors: Iterable[ErrorDetails], keys: "KeysByPlace", within: Location = ()
) -> Iterable[Problem]:
    """Validation errors in words, with lines; `within` is where the validated part stands in the document."""
    for error in errors:
        location = (*within, *(step for step in error["loc"]))
        name = location[-1] if location else "the document"
        accepted = keys(tuple(error["loc"][:-1]))
        match error["type"]:
            case "extra_forbidden" | "unexpected_keyword_argument":
                close = difflib.get_close_matches(str(name), accepted, 1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                yield Problem(
                    f"unknown key {_shown(name)}",
                    document.where(location),
                    f"{hint}accepted: {', '.join(accepted)}",
                )
            case "missing" | "missing_argument":
                listed = f"accepted keys: {', '.join(accepted)}" if accepted else ""
                yield Problem(f"the key {name!r} is missing", document.where(location), listed)
            case _:
                own = keys(tuple(error["loc"]))
                listed = f"accepted keys: {', '.join(own)}" if own else ""
                said = error["msg"].removeprefix("Value error, ")
                text = f"{_path(location)}: {said}, not {_shown(error['input'])}"
                yield Problem(text, document.where(location), listed)


class KeysByPlace:
    """Which keys a mapping at a place accepts, read off the JSON schema of a shape."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema

    def __call__(self, location: Location) -> list[str]:
        node = self._schema
        for step in location:
            node = self._step(self._resolved(node), step)
        return sorted(self._resolved(node).get("properties", {}))

    def _step(self, node: Mapping[str, Any], step: int | str) -> Mapping[str, Any]:
        if isinstance(step, int):
            return dict(node.get("items", {}))
        inside = node.get("properties", {}).get(step)
        more = node.get("additionalProperties")
        return dict(inside if inside is not None else more if isinstance(more, dict) else {})

    def _resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        for option in node.get("anyOf", ()):
            if option.get("type") != "null":
                return self._resolved(option)
        if "$ref" not in node:
            return node
        return self._resolved(self._schema["$defs"][node["$ref"].rpartition("/")[2]])


def keys_of(shape: TypeAdapter[Any]) -> KeysByPlace:
    """Which keys a shape accepts, by place."""
    return KeysByPlace(shape.json_schema(mode="validation"))


def _path(location: Location) -> str:
    return ".".join(str(step) for step in location) or "the document"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
