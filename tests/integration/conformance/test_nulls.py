"""`is_null`: with and without an index, at the end of a path and inside arrays, against the same rule in Python.

Qdrant reads the payload where the key has no index: then the value must be null itself. Where the key has an index,
Qdrant reads the index, which also marks an array with a null among its elements.
"""

from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient, models

PAYLOADS: list[dict[str, Any]] = [
    {},
    {"a": None},
    {"a": []},
    {"a": [None]},
    {"a": [None, None]},
    {"a": [1, None]},
    {"a": [1]},
    {"a": 1},
    {"a": {}},
    {"a": [[None]]},
    {"a": {"b": None}},
    {"a": {"b": [None, 1]}},
    {"a": [{"b": 1}, {"b": None}]},
    {"a": [{"b": [None]}, {"b": [None]}]},
    {"a": [{"b": []}]},
    {"a": [{"b": [{"c": 1}, {"c": None}]}]},
    {"a": {"b": [{"c": None}]}},
    {"a": [{"b": {"c": None}}]},
]
KEYS = (
    "a",
    "a[]",
    "a[0]",
    "a[1]",
    "a.b",
    "a.b[]",
    "a[].b",
    "a[].b[]",
    "a[].b.c",
    "a[].b[].c",
    "a.b[].c",
    "x[].y",
)


def values_at(path: str, value: Any) -> list[Any]:
    """All values that a path leads to; `[]` stands for every element, `[1]` for one."""
    values = [value]
    for part in path.replace("[", ".[").split("."):
        values = [inner for outer in values for inner in step(part, outer)]
    return values


def step(part: str, value: Any) -> list[Any]:
    """The values one part of a path further."""
    if not part.startswith("["):
        return [value[part]] if isinstance(value, dict) and part in value else []
    elements = value if isinstance(value, list) else []
    return elements if part == "[]" else elements[int(part[1:-1]) :][:1]


def null_itself(path: str, payload: Any) -> bool:
    """The rule without an index."""
    return any(value is None for value in values_at(path, payload))


def null_or_holds_null(path: str, payload: Any) -> bool:
    """The rule with an index."""
    values = values_at(path, payload)
    return any(v is None or (isinstance(v, list) and None in v) for v in values)


@pytest.fixture
def filled(client: QdrantClient, name: str) -> str:
    """A collection with one point per payload, its id the place in PAYLOADS."""
    client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    points = [models.PointStruct(id=i, vector=[1.0, i], payload=p) for i, p in enumerate(PAYLOADS)]
    client.upsert(name, points)
    return name


def is_null(key: str) -> models.IsNullCondition:
    """The condition."""
    return models.IsNullCondition(is_null=models.PayloadField(key=key))


def found(client: QdrantClient, name: str, condition: Any) -> list[Any]:
    """The ids of the points that meet a condition."""
    records, _ = client.scroll(name, scroll_filter=models.Filter(must=[condition]), limit=len(PAYLOADS))
    return [record.id for record in records]


def test_the_rule_in_python_tells_a_null_from_an_array_with_nulls() -> None:
    assert values_at("a[].b[].c", PAYLOADS[15]) == [1, None]
    assert [i for i, p in enumerate(PAYLOADS) if null_itself("a", p)] == [1]
    assert [i for i, p in enumerate(PAYLOADS) if null_or_holds_null("a", p)] == [1, 3, 4, 5]


@pytest.mark.parametrize("key", KEYS)
def test_without_an_index_only_null_itself_is_null(client: QdrantClient, filled: str, key: str) -> None:
    expected = [i for i, payload in enumerate(PAYLOADS) if null_itself(key, payload)]
    assert found(client, filled, is_null(key)) == expected


@pytest.mark.parametrize("key", ["a", "a[]", "a[].b"])
def test_with_an_index_an_array_with_a_null_counts_too(client: QdrantClient, filled: str, key: str) -> None:
    client.create_payload_index(filled, key, field_schema=models.PayloadSchemaType.INTEGER)
    expected = [i for i, payload in enumerate(PAYLOADS) if null_or_holds_null(key, payload)]
    assert found(client, filled, is_null(key)) == expected
    client.delete_payload_index(filled, key)
    unindexed = [i for i, payload in enumerate(PAYLOADS) if null_itself(key, payload)]
    assert found(client, filled, is_null(key)) == unindexed


def test_inside_a_nested_filter_the_index_is_not_read(client: QdrantClient, filled: str) -> None:
    client.create_payload_index(filled, "a[].b", field_schema=models.PayloadSchemaType.INTEGER)
    nested = models.NestedCondition(nested=models.Nested(key="a", filter=models.Filter(must=[is_null("b")])))
    assert found(client, filled, nested) == [12]


def test_every_call_that_takes_a_filter_agrees(client: QdrantClient, filled: str) -> None:
    null = models.Filter(must=[is_null("a")])
    either = models.Filter(
        min_should=models.MinShould(conditions=[is_null("a"), is_null("a.b")], min_count=1)
    )
    assert client.count(filled, count_filter=null).count == 1
    assert client.count(filled, count_filter=models.Filter(must_not=[null])).count == len(PAYLOADS) - 1
    assert client.count(filled, count_filter=either).count == 2
    points = client.query_points(filled, query=[1.0, 1.0], query_filter=either, limit=9).points
    assert [p.id for p in points] == [10, 1]
    client.delete(filled, models.FilterSelector(filter=null))
    assert [r.id for r in client.retrieve(filled, [1, 3, 4, 5])] == [3, 4, 5]


@pytest.mark.parametrize("key", ["a[][]", "a[][0]", '"a"', "a[].b[][]"])
def test_paths_that_cannot_be_answered_as_in_qdrant_are_501(
    raw: httpx.Client, filled: str, edge_only: None, key: str
) -> None:
    body = {"filter": {"must": [{"is_null": {"key": key}}]}}
    answer = raw.post(f"/collections/{filled}/points/count", json=body)
    assert answer.status_code == 501, answer.text
    assert "body.filter.must[0].is_null" in answer.json()["status"]["error"]
