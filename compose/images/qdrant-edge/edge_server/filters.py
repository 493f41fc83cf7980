"""Qdrant's filter objects, translated into the engine's.

Where the engine, which is newer, answers a condition differently from Qdrant 1.15, the translation restores the
answer of Qdrant 1.15. Where it cannot, the condition is refused with 501.
"""

from collections.abc import Callable
from typing import Any

import qdrant_edge as edge

from edge_server.errors import MissingFeatureError, bad_format, engine_call
from edge_server.field_index import PayloadIndexes
from edge_server.fields import MISSING, Fields
from edge_server.nulls import is_null_condition
from edge_server.point_ids import parse_id
from edge_server.texts import TEXT_MATCHES, substring_condition

_CLAUSES = ("must", "should", "must_not", "min_should")
_MATCHERS = ("match", "range", "values_count", "is_empty", "is_null")
_GEO = ("geo_bounding_box", "geo_radius", "geo_polygon")


def parse_filter(body: object, where: str, indexes: PayloadIndexes) -> edge.Filter | None:
    """A filter, or None for null."""
    if body is None:
        return None
    fields = Fields(body, where)
    clauses: dict[str, Any] = {
        name: _conditions(fields, name, indexes) for name in ("must", "should", "must_not")
    }
    min_should = fields.take("min_should")
    fields.done()
    if min_should is not None:
        clauses["min_should"] = _min_should(min_should, fields.path("min_should"), indexes)
    return edge.Filter(**clauses)


def _conditions(fields: Fields, clause: str, indexes: PayloadIndexes) -> list[Any] | None:
    """A clause's conditions; Qdrant takes one condition in place of a list of one."""
    value = fields.take(clause)
    if value is None:
        return None
    items = value if isinstance(value, list) else [value]
    where = fields.path(clause)
    return [_condition(item, f"{where}[{number}]", indexes) for number, item in enumerate(items)]


def _min_should(body: object, where: str, indexes: PayloadIndexes) -> edge.MinShould:
    fields = Fields(body, where)
    items = fields.items("conditions", MISSING)
    conditions = [_condition(item, f"{where}.conditions[{i}]", indexes) for i, item in enumerate(items)]
    count = fields.integer("min_count", MISSING)
    fields.done()
    return edge.MinShould(conditions, count)


def _condition(body: object, where: str, indexes: PayloadIndexes) -> Any:
    """One condition; which kind it is shows in its keys."""
    fields = Fields(body, where)
    if fields.has("key"):
        return _field_condition(fields, indexes)
    for kind, parse in _KINDS.items():
        if fields.has(kind):
            condition = parse(fields.take(kind), fields.path(kind), indexes)
            fields.done()
            return condition
    if any(fields.has(clause) for clause in _CLAUSES):
        return parse_filter(body, where, indexes)
    raise bad_format(where, f"no known condition; expected `key` or one of {sorted((*_KINDS, *_CLAUSES))}")


def _has_id(value: object, where: str, indexes: PayloadIndexes) -> edge.HasIdCondition:
    if not isinstance(value, list):
        raise bad_format(where, "expected an array of point ids")
    return edge.HasIdCondition({parse_id(item) for item in value})


def _has_vector(value: object, where: str, indexes: PayloadIndexes) -> edge.HasVectorCondition:
    if not isinstance(value, str):
        raise bad_format(where, "expected the name of a vector")
    return edge.HasVectorCondition(value)


def _nested(value: object, where: str, indexes: PayloadIndexes) -> edge.NestedCondition:
    fields = Fields(value, where)
    key, inner = fields.text("key", MISSING), fields.take("filter", MISSING)
    fields.done()
    inner_filter = parse_filter(inner, fields.path("filter"), indexes.inside(key))
    assert inner_filter is not None
    return engine_call(lambda: edge.NestedCondition(key, inner_filter))


def _payload_field(value: object, where: str) -> str:
    fields = Fields(value, where)
    key = fields.text("key", MISSING)
    fields.done()
    return str(key)


def _is_empty(value: object, where: str, indexes: PayloadIndexes) -> edge.IsEmptyCondition:
    key = _payload_field(value, where)
    return engine_call(lambda: edge.IsEmptyCondition(key))


def _is_null(value: object, where: str, indexes: PayloadIndexes) -> Any:
    key = _payload_field(value, where)
    return is_null_condition(key, where, has_index=key in indexes.keys)


_KINDS: dict[str, Callable[[object, str, PayloadIndexes], Any]] = {
    "has_id": _has_id,
    "has_vector": _has_vector,
    "nested": _nested,
    "is_empty": _is_empty,
    "is_null": _is_null,
}


def _field_condition(fields: Fields, indexes: PayloadIndexes) -> Any:
    """A condition on one payload field, with exactly one matcher: of two, the engine would drop one."""
    key = fields.text("key", MISSING)
    fields.refuse(*_GEO)
    given = [name for name in _MATCHERS if fields.has(name)]
    if len(given) != 1:
        raise bad_format(
            fields.where, f"a condition on `{key}` needs exactly one of {list(_MATCHERS)}, got {given}"
        )
    name = given[0]
    raw = fields.take(name)
    for other in _MATCHERS:
        fields.take(other)
    fields.done()
    value = _VALUES[name](raw, fields.path(name))
    if isinstance(value, TEXT_MATCHES) and key not in indexes.text:
        return substring_condition(key, value, fields.where, indexes)
    if isinstance(value, edge.MatchExcept):
        _check_except(key, value, fields.where, indexes)
    options: dict[str, Any] = {name: value}
    return engine_call(lambda: edge.FieldCondition(key, **options))


def _check_except(key: str, match: edge.MatchExcept, where: str, indexes: PayloadIndexes) -> None:
    """Refuse `except` where the index cannot find the listed values.

    Until 1.17, Qdrant then matches every point of which the index holds any value, whatever the list says. The
    engine reads the payload. An empty list counts as strings.
    """
    listed = match.value
    suitable = indexes.integers if listed and isinstance(listed[0], int) else indexes.strings
    if key in indexes.keys and key not in suitable:
        raise MissingFeatureError(f"`except` in `{where}` on a key with an index of another type")


class _Boolean:
    """A boolean that the engine's binding takes for one.

    It tries string, integer, boolean, in this order, and a Python `bool` is an integer: `true` would match 1
    (qdrant-edge-py 0.9.0). A NumPy boolean is none, and that type it knows by its name alone.
    """

    def __init__(self, value: bool) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return self._value


_Boolean.__module__, _Boolean.__name__, _Boolean.__qualname__ = "numpy", "bool", "bool"


def _match_value(value: object) -> edge.MatchValue:
    stand_in: Any = _Boolean(value) if isinstance(value, bool) else value
    return edge.MatchValue(stand_in)


def _match(body: object, where: str) -> Any:
    """A match clause: exactly one of the kinds below."""
    fields = Fields(body, where)
    kind = next((kind for kind in _MATCHES if fields.has(kind)), None)
    if kind is None:
        raise bad_format(where, f"expected one of {sorted(_MATCHES)}")
    build, allowed = _MATCHES[kind]
    value = fields.take(kind)
    fields.done()
    if not _allowed(value, allowed):
        raise bad_format(fields.path(kind), f"expected {allowed}")
    return engine_call(lambda: build(value))


def _allowed(value: object, allowed: str) -> bool:
    if allowed == "a string":
        return isinstance(value, str)
    if allowed == "a string, integer or boolean":
        return isinstance(value, str | int)
    if not isinstance(value, list):
        return False
    return all(isinstance(v, str) for v in value) or all(type(v) is int for v in value)


_MATCHES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "value": (_match_value, "a string, integer or boolean"),
    "text": (edge.MatchText, "a string"),
    "text_any": (edge.MatchTextAny, "a string"),
    "phrase": (edge.MatchPhrase, "a string"),
    "any": (edge.MatchAny, "an array of strings or an array of integers"),
    "except": (edge.MatchExcept, "an array of strings or an array of integers"),
}


def _range(body: object, where: str) -> Any:
    """A range of numbers, or of date-times where the bounds are strings."""
    fields = Fields(body, where)
    bounds = {name: fields.take(name) for name in ("gt", "gte", "lt", "lte")}
    fields.done()
    given = {name: value for name, value in bounds.items() if value is not None}
    if all(isinstance(value, str) for value in given.values()) and given:
        return engine_call(lambda: edge.RangeDateTime(**given))
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in given.values()):
        raise bad_format(where, "bounds must be all numbers or all date-times")
    return edge.RangeFloat(**given)


def _values_count(body: object, where: str) -> edge.ValuesCount:
    """Bounds on the number of values.

    Bounds that include 0 are refused: up to Qdrant 1.18 a point without the field does not match them, in this
    engine it does, and the engine has no condition that tells such a point from one with an empty array.
    """
    fields = Fields(body, where)
    bounds = {name: fields.integer(name) for name in ("gt", "gte", "lt", "lte")}
    fields.done()
    if not bounds["gte"] and bounds["gt"] is None and bounds["lt"] != 0:
        raise MissingFeatureError(f"bounds that include 0 in `{where}`")
    return edge.ValuesCount(**bounds)


def _boolean(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise bad_format(where, "expected a boolean")
    return value


_VALUES: dict[str, Callable[[object, str], Any]] = {
    "match": _match,
    "range": _range,
    "values_count": _values_count,
    "is_empty": _boolean,
    "is_null": _boolean,
}
