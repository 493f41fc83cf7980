"""Checks YAML values strictly: every error names the file, line and column, and what would be accepted.

`plain_yaml` reads the values and remembers their lines. Here pydantic checks them, without coercion, and the locations
in its errors are mapped back to lines.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from lab.errors import ScenarioError
from lab.read.plain_yaml import Document, Location, parse, read, shown

__all__ = [
    "Document",
    "KeysByPlace",
    "Location",
    "Problem",
    "accepted",
    "checked",
    "examined",
    "keys_of",
    "parse",
    "problems",
    "read",
    "shown",
    "strictly",
]

T = TypeVar("T")
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document."""

    what: str
    where: str
    try_: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"; {self.try_}" if self.try_ else "")

    def as_error(self, more: str = "") -> ScenarioError:
        """The problem as an error to raise; `more` mentions the other problems."""
        return ScenarioError(self.what, where=self.where, last_state=more, try_=self.try_)


def accepted(name: object, names: Iterable[str], of: str = "accepted") -> str:
    """The names that would be accepted in place of `name`; a similar name is suggested first."""
    listed = sorted(names)
    close = difflib.get_close_matches(str(name)[:100], listed, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}{of}: {', '.join(listed)}"


def checked(document: Document, shape: TypeAdapter[T]) -> T:
    """The document as a value of `shape`; raises ScenarioError with the first problem and the number of the others."""
    values, found = examined(document, shape)
    if values:
        return values[0]
    rest = len(found) - 1
    raise found[0].as_error(f"{rest} more problem{'s' if rest > 1 else ''} in this file" if rest else "")


def examined(document: Document, shape: TypeAdapter[T]) -> tuple[list[T], list[Problem]]:
    """A list with the value and no problems, or an empty list and all problems of the document."""
    try:
        return [strictly(document.value, shape)], []
    except ValidationError as error:
        return [], list(problems(document, error.errors(include_url=False), keys_of(shape)))


def strictly(value: Any, shape: TypeAdapter[T]) -> T:
    """Plain values as a `shape`, without coercion; raises ValidationError.

    The values go through JSON, because in its Python mode pydantic accepts only an instance for a strict dataclass.
    """
    return shape.validate_json(json.dumps(value), strict=True)


def problems(
    document: Document, errors: Sequence[ErrorDetails], keys: "KeysByPlace", within: Location = ()
) -> Iterator[Problem]:
    """Validation errors in words, with lines; `within` is the location of the validated part in the document.

    Unknown keys come first, because a missing key is often a misspelt one. A value that fits none of several types is
    one problem here, although pydantic reports one for each type.
    """
    reported: set[Location] = set()
    for error in sorted(errors, key=lambda error: error["type"] not in _UNKNOWN):
        location = (*within, *error["loc"])
        if error["type"] in _UNKNOWN:
            listed = accepted(location[-1], keys(tuple(error["loc"][:-1])))
            yield Problem(f"unknown key {shown(location[-1])}", document.where(location), listed)
        elif error["type"] in _MISSING:
            names = keys(tuple(error["loc"][:-1]))
            listed = f"accepted keys: {', '.join(names)}" if names else ""
            yield Problem(f"the key {shown(location[-1])} is missing", document.where(location), listed)
        elif (place := document.nearest(location)) not in reported:
            reported.add(place)
            names = keys(place[len(within) :])
            text = (
                f"{_path(place)}: {error['msg'].removeprefix('Value error, ')}, not {shown(error['input'])}"
            )
            listed = f"accepted keys: {', '.join(names)}" if names else ""
            yield Problem(text, document.where(place), listed)


class KeysByPlace:
    """The keys that a mapping at a place accepts, taken from the JSON schema of a shape."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema

    def __call__(self, location: Location = ()) -> list[str]:
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
    """The keys that a shape accepts, by place."""
    return KeysByPlace(shape.json_schema(mode="validation"))


def _path(location: Location) -> str:
    return ".".join(str(step) for step in location) or "the document"
