"""Strict reading of JSON objects: every key must be asked for, and what nobody asked for is refused by name.

`null` counts as absent, as in Qdrant: the client sends nulls for everything that its caller left out.
"""

from typing import Any

from edge_server.errors import MissingFeatureError, bad_format, out_of_bounds

MISSING: Any = object()


class Fields:
    """One JSON object being read; `where` names it in messages (`body.filter.must[0]`)."""

    __slots__ = ("_body", "_read", "where")

    def __init__(self, body: object, where: str) -> None:
        if not isinstance(body, dict):
            raise bad_format(where, f"expected an object, got {kind_of(body)}")
        self._body: dict[str, Any] = body
        self._read: set[str] = set()
        self.where = where

    def path(self, key: str) -> str:
        """The name of a key in messages."""
        return f"{self.where}.{key}"

    def has(self, key: str) -> bool:
        """Whether the key is there and not null; does not count as reading it."""
        return self._body.get(key) is not None

    def take(self, key: str, default: Any = None) -> Any:
        """The raw value; `default` where absent, a 400 where absent and the default is MISSING."""
        self._read.add(key)
        value = self._body.get(key)
        if value is not None:
            return value
        if default is MISSING:
            raise bad_format(self.where, f"missing field `{key}`")
        return default

    def integer(self, key: str, default: Any = None, *, minimum: int = 0, maximum: int | None = None) -> Any:
        """An integer within bounds (422 outside of them), or the default."""
        value = self.take(key, default)
        if value is default:
            return value
        if isinstance(value, bool) or not isinstance(value, int):
            raise bad_format(self.path(key), f"expected an integer, got {kind_of(value)}")
        if value < minimum:
            raise out_of_bounds(self.path(key), f"value {value} invalid, must be {minimum} or larger")
        if maximum is not None and value > maximum:
            raise out_of_bounds(self.path(key), f"value {value} invalid, must be {maximum} or smaller")
        return value

    def number(self, key: str, default: Any = None) -> Any:
        """An integer or float, or the default."""
        value = self.take(key, default)
        if value is not default and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise bad_format(self.path(key), f"expected a number, got {kind_of(value)}")
        return value

    def flag(self, key: str, default: Any = None) -> Any:
        """A boolean, or the default."""
        return self._typed(key, default, bool, "a boolean")

    def text(self, key: str, default: Any = None) -> Any:
        """A string, or the default."""
        return self._typed(key, default, str, "a string")

    def items(self, key: str, default: Any = None) -> Any:
        """An array, or the default."""
        return self._typed(key, default, list, "an array")

    def choice(self, key: str, among: dict[str, Any], default: Any = None) -> Any:
        """The member of `among` that the string names, or the default."""
        value = self.text(key, default)
        if value is default:
            return value
        if value not in among:
            raise bad_format(self.path(key), f"unknown variant `{value}`, expected one of {sorted(among)}")
        return among[value]

    def refuse(self, *keys: str) -> None:
        """501 for fields that Qdrant has and this server lacks, unless they are absent."""
        for key in keys:
            if self.take(key) is not None:
                raise MissingFeatureError(f"field `{self.path(key)}`")

    def done(self) -> None:
        """400 for every key that nobody asked for."""
        left = sorted(set(self._body) - self._read)
        if left:
            known = ", ".join(sorted(self._read))
            raise bad_format(
                self.where, f"unknown field(s) {', '.join(f'`{key}`' for key in left)}; known: {known}"
            )

    def _typed(self, key: str, default: Any, kind: type, expected: str) -> Any:
        value = self.take(key, default)
        if value is not default and not isinstance(value, kind):
            raise bad_format(self.path(key), f"expected {expected}, got {kind_of(value)}")
        return value


def kind_of(value: object) -> str:
    """The JSON name of a value's type, for messages."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
