"""`is_null` as Qdrant 1.15 to 1.18 answer it.

Qdrant reads the payload where the key has no index: then the value must be null itself. Where the key has an index,
Qdrant reads the index, which also marks an array with a null among its elements. The engine's own condition always
answers as the index does (qdrant-edge-py 0.9.0), so for a key without an index it is combined with `is_empty`,
which holds for null and for an empty array and for no other value.
"""

from typing import Any

import qdrant_edge as edge

from edge_server.errors import MissingFeatureError, engine_call


def is_null_condition(key: str, where: str, *, has_index: bool) -> Any:
    """The condition that the value at `key` is null. `where` names the condition in messages."""
    if has_index:
        return _null_or_holds_null(key)
    if '"' in key:
        raise MissingFeatureError(f"quotes in the key of `{where}`")
    return _null_itself(key, where)


def _null_itself(key: str, where: str) -> Any:
    """A path with `[]` means any element, so its last `[]` becomes a condition on the elements of an array."""
    array, wildcard, rest = key.rpartition("[]")
    if not wildcard:
        return edge.Filter(must=[_null_or_holds_null(key), _is_empty(key)])
    if rest.startswith("."):
        return _any_element(array, _null_itself(rest[1:], where))
    if rest:
        raise MissingFeatureError(f"an index after `[]` in the key of `{where}`")
    return _holds_null(array, where)


def _holds_null(array: str, where: str) -> Any:
    """The value is an array, and one of its elements is null."""
    outer, wildcard, rest = array.rpartition("[]")
    if not wildcard:
        return edge.Filter(must=[_null_or_holds_null(array)], must_not=[_is_empty(array)])
    if rest.startswith("."):
        return _any_element(outer, _holds_null(rest[1:], where))
    raise MissingFeatureError(f"arrays of arrays in the key of `{where}`")


def _any_element(array: str, condition: Any) -> edge.NestedCondition:
    return engine_call(lambda: edge.NestedCondition(array, edge.Filter(must=[condition])))


def _null_or_holds_null(key: str) -> edge.FieldCondition:
    return engine_call(lambda: edge.FieldCondition(key, is_null=True))


def _is_empty(key: str) -> edge.IsEmptyCondition:
    return engine_call(lambda: edge.IsEmptyCondition(key))
