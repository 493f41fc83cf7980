"""Reads YAML into plain values and remembers their lines; size, depth and number of values are limited.

Tags are refused and nothing is coerced. Anchors, aliases and merge keys (`<<`) are refused in a user's files, and
accepted in the lab's own compose file.

Only what all YAML readers understand in the same way is accepted: a number is decimal, a boolean is `true` or `false`.
What YAML 1.1 reads in its own way (`yes`, `010`, `1:30`) is refused, and the message says what to write instead.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab.errors import ScenarioError

BYTES_MAX = 256 * 1024
DEPTH_MAX = 20
NODES_MAX = 20_000
SHOWN_CHARS = 80

_TAG = "tag:yaml.org,2002:"
_TRUTH = {"true": True, "false": False}
# At most as many digits as JavaScript keeps exactly, because k6 reads some of these numbers too.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,14})")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
# Control characters except tab and line feed; and halves of surrogate pairs, which UTF-8 cannot encode.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

Location = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """Plain values, and the place of each: `places` maps a location in the value to (line, column), from 1."""

    source: str
    value: Any
    places: Mapping[Location, tuple[int, int]] = field(default_factory=dict)

    def nearest(self, location: Location) -> Location:
        """The location, or its nearest parent that is in the text; without a text, the location itself."""
        while self.places and location and location not in self.places:
            location = location[:-1]
        return location

    def where(self, location: Location = ()) -> str:
        """`file:line:column` of a location, or of its nearest parent that is in the text."""
        line, column = self.places.get(self.nearest(location), (1, 1))
        return f"{self.source}:{line}:{column}"


def read(path: Path, *, anchors: bool = False) -> Document:
    """Read a file; raises ScenarioError where it cannot be read or is not YAML as accepted here."""
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise ScenarioError("the file cannot be read", where=f"{path}:1", last_state=str(error)) from error
    return parse(data, str(path), anchors=anchors)


def parse(data: bytes, source: str, *, anchors: bool = False) -> Document:
    """Parse YAML bytes into plain values with their places; raises ScenarioError, and nothing else, for any bytes."""
    if len(data) > BYTES_MAX:
        raise ScenarioError(
            f"more than {BYTES_MAX // 1024} KiB", where=f"{source}:1", try_="split it into several files"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ScenarioError("not UTF-8", where=f"{source}:{line}", try_="save it as UTF-8") from error
    places: dict[Location, tuple[int, int]] = {}
    try:
        node = _composed(text, anchors=anchors)
        value = None if node is None else _value(node, (), places)
    except _Refused as refused:
        where = f"{source}:{refused.line}:{refused.column}"
        raise ScenarioError(refused.what, where=where, try_=refused.try_) from None
    return Document(source, value, places)


class _Refused(Exception):
    """What is refused, and where. `parse` turns it into a ScenarioError, because it knows the file's name."""

    def __init__(self, what: str, line: int, column: int, try_: str = "") -> None:
        super().__init__(what)
        self.what, self.line, self.column, self.try_ = what, line, column, try_


def _refuse(what: str, mark: Any, try_: str = "") -> _Refused:
    return _Refused(what, mark.line + 1, mark.column + 1, try_)


class _Nodes(yaml.SafeLoader):
    """A loader that only builds nodes. It refuses anchors, tags, deep nesting and too many values."""

    depth = nodes = 0
    takes_anchors = False

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.nodes += 1
        self.depth += 1
        has_anchor = isinstance(event, yaml.AliasEvent) or event.anchor is not None
        if has_anchor and not self.takes_anchors:
            raise _refuse("anchors and aliases are not accepted", event.start_mark, "repeat the value")
        if getattr(event, "tag", None) is not None:
            raise _refuse(
                f"the tag {shown(event.tag)} is not accepted", event.start_mark, "write plain values"
            )
        if self.depth > DEPTH_MAX:
            raise _refuse(f"nested deeper than {DEPTH_MAX} levels", event.start_mark)
        if self.nodes > NODES_MAX:
            raise _refuse(f"more than {NODES_MAX} values", event.start_mark, "split it into several files")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _composed(text: str, *, anchors: bool) -> Any:
    """The only document in the text as a node, or None where the text is empty."""
    line = 1
    try:
        loader = _Nodes(text)
        loader.takes_anchors = anchors
        try:
            node = loader.get_single_node()
            return _flattened(node, set()) if anchors else node
        finally:
            line = loader.line + 1
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"not YAML as accepted here: {error.problem or error.context}"
        raise (_refuse(what, mark) if mark else _Refused(what, line, 1)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _Refused(f"not YAML: {error.reason}", line, 1) from None
    except (ValueError, OverflowError):
        # PyYAML raises these itself where an escape or a directive contains a number that is too large.
        raise _Refused("not YAML: a number in an escape is too large", line, 1) from None


def _flattened(node: Any, done: set[int]) -> Any:
    """The node with each merge key (`<<`) replaced by the keys of its mapping; the node's own keys take precedence."""
    if id(node) in done:
        return node
    done.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _flattened(item, done)
    elif isinstance(node, yaml.MappingNode):
        merged = [pair for pair in node.value if pair[0].tag == f"{_TAG}merge"]
        own = [pair for pair in node.value if pair[0].tag != f"{_TAG}merge"]
        for _, value in node.value:
            _flattened(value, done)
        names = {key.value for key, _ in own if isinstance(key, yaml.ScalarNode)}
        for _, value in merged:
            if not isinstance(value, yaml.MappingNode):
                raise _refuse("only one mapping can be merged", value.start_mark, "write `<<: *name`")
            own = [*(pair for pair in value.value if pair[0].value not in names), *own]
        node.value = own
    return node


def _value(node: Any, location: Location, places: dict[Location, tuple[int, int]]) -> Any:
    # Counted again, because with aliases a short text can be a very large value.
    if len(location) > DEPTH_MAX or len(places) > NODES_MAX:
        raise _refuse(f"more than {NODES_MAX} values or {DEPTH_MAX} levels with its aliases", node.start_mark)
    places[location] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, location, places)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*location, number), places) for number, item in enumerate(node.value)]
    return _scalar(node)


def _mapping(
    node: yaml.MappingNode, location: Location, places: dict[Location, tuple[int, int]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        mark = key_node.start_mark
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != f"{_TAG}str":
            raise _refuse("a key must be a plain word", mark, "put it in quotes if it is a word")
        key = _text(key_node)
        if key in found:
            raise _refuse(f"the key {shown(key)} is there twice", mark, "remove one of them")
        inside = (*location, key)
        found[key] = _value(value_node, inside, places)
        places[inside] = (mark.line + 1, mark.column + 1)
    return found


def _scalar(node: yaml.ScalarNode) -> Any:
    match node.tag.removeprefix(_TAG):
        case "str" | "timestamp":
            return _text(node)
        case "null":
            return None
        case "bool" if node.value.lower() in _TRUTH:
            return _TRUTH[node.value.lower()]
        case "bool":
            problem = f"{shown(node.value)} is a boolean for some YAML readers and a word for others"
            raise _refuse(
                problem, node.start_mark, "write true or false, or put it in quotes if it is a word"
            )
        case "int" | "float":
            return _number(node)
    raise _refuse(f"{shown(node.value)} has a special meaning in YAML", node.start_mark, "put it in quotes")


def _number(node: yaml.ScalarNode) -> int | float:
    if _INT.fullmatch(node.value):
        return int(node.value)
    if node.value.lower().lstrip("+-") in (".nan", ".inf"):
        raise _refuse(f"{node.value} is not a finite number", node.start_mark)
    if node.tag == f"{_TAG}float" and _FLOAT.fullmatch(node.value):
        value = float(node.value)
        if math.isfinite(value):
            return value
        raise _refuse(f"{shown(node.value)} is not a finite number", node.start_mark)
    problem = f"{shown(node.value)} is not a decimal number of at most 15 digits"
    raise _refuse(problem, node.start_mark, "put it in quotes if it is text")


def _text(node: yaml.ScalarNode) -> str:
    value = str(node.value)
    if found := _FORBIDDEN.search(value):
        problem = f"not YAML as accepted here: the character {found.group()!r} in a text"
        raise _refuse(problem, node.start_mark, "remove it; control characters are not accepted")
    return value


def shown(value: object) -> str:
    """A value as messages show it: quoted, escaped, and cut to a limit."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
