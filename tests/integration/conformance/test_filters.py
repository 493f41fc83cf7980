"""Filters: each against the same condition written in Python, over points with all kinds of payload."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from qdrant_client import QdrantClient, models

Payload = dict[str, Any]
SIZE = 48
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
COLOURS = ("red", "green", "blue")


def payload(i: int) -> Payload:
    """Payload of point i: some keys are missing, null or empty on some points."""
    made: Payload = {"n": i, "half": i / 2, "colour": COLOURS[i % 3], "even": i % 2 == 0}
    made["text"] = f"the {COLOURS[i % 3]} fox number {i}"
    made["at"] = (EPOCH + timedelta(days=i)).isoformat()
    made["tags"] = [f"t{k}" for k in range(i % 4)]
    made["parts"] = [{"size": i % 5, "kind": "a"}, {"size": (i + 1) % 5, "kind": "b"}]
    if i % 6 == 0:
        made["maybe"] = None
    elif i % 6 < 3:
        made["maybe"] = i
    return made


@pytest.fixture(scope="module", params=[False, True], ids=["unindexed", "indexed"])
def filled(client: QdrantClient, request: pytest.FixtureRequest) -> Iterator[str]:
    """A collection of SIZE points, with and without payload indexes: the answers must be the same."""
    name = f"conformance-filters-{uuid4().hex[:8]}"
    client.create_collection(
        name,
        vectors_config={"a": models.VectorParams(size=2, distance=models.Distance.DOT)},
        sparse_vectors_config={"s": models.SparseVectorParams()},
    )
    client.upsert(
        name, [models.PointStruct(id=i, vector=vectors(i), payload=payload(i)) for i in range(SIZE)]
    )
    if request.param:
        kinds = {
            "n": "integer",
            "half": "float",
            "colour": "keyword",
            "even": "bool",
            "at": "datetime",
            "maybe": "integer",
        }
        for key, kind in (kinds | {"tags": "keyword", "parts[].size": "integer"}).items():
            client.create_payload_index(name, key, field_schema=models.PayloadSchemaType(kind))
        text = models.TextIndexParams(type=models.TextIndexType.TEXT, phrase_matching=True)
        client.create_payload_index(name, "text", field_schema=text)
    yield name
    client.delete_collection(name)


def vectors(i: int) -> Any:
    sparse = {"s": models.SparseVector(indices=[i], values=[1.0])} if i % 2 else {}
    return {"a": [float(i), 1.0]} | sparse


def field(key: str, **matcher: Any) -> models.FieldCondition:
    """A condition on a payload field."""
    return models.FieldCondition(key=key, **matcher)


def value(key: str, wanted: Any) -> models.FieldCondition:
    """key = wanted."""
    return field(key, match=models.MatchValue(value=wanted))


RED, EVEN, SMALL = value("colour", "red"), value("even", wanted=True), field("n", range=models.Range(lt=10))
TABLE: dict[str, tuple[models.Filter, Callable[[Payload], bool]]] = {
    "keyword": (models.Filter(must=[RED]), lambda p: p["colour"] == "red"),
    "integer": (models.Filter(must=[value("n", 7)]), lambda p: p["n"] == 7),
    "boolean": (models.Filter(must=[EVEN]), lambda p: p["even"]),
    "in-array": (models.Filter(must=[value("tags", "t1")]), lambda p: "t1" in p["tags"]),
    "any-text": (
        models.Filter(must=[field("colour", match=models.MatchAny(any=["red", "blue"]))]),
        lambda p: p["colour"] in ("red", "blue"),
    ),
    "any-integer": (
        models.Filter(must=[field("n", match=models.MatchAny(any=[1, 2, 99]))]),
        lambda p: p["n"] in (1, 2),
    ),
    "any-of-nothing": (models.Filter(must=[field("n", match=models.MatchAny(any=[]))]), lambda p: False),
    "except": (
        models.Filter(must=[field("colour", match=models.MatchExcept(**{"except": ["red"]}))]),
        lambda p: p["colour"] != "red",
    ),
    "text": (
        models.Filter(must=[field("text", match=models.MatchText(text="green"))]),
        lambda p: p["colour"] == "green",
    ),
    "range": (models.Filter(must=[field("n", range=models.Range(gte=5, lt=9))]), lambda p: 5 <= p["n"] < 9),
    "range-float": (
        models.Filter(must=[field("half", range=models.Range(gt=2.5, lte=4))]),
        lambda p: 2.5 < p["half"] <= 4,
    ),
    "datetime": (
        models.Filter(must=[field("at", range=models.DatetimeRange(gte=EPOCH + timedelta(days=40)))]),
        lambda p: p["n"] >= 40,
    ),
    "values-count": (
        models.Filter(must=[field("tags", values_count=models.ValuesCount(gte=2))]),
        lambda p: len(p["tags"]) >= 2,
    ),
    "is-empty": (
        models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="maybe"))]),
        lambda p: p.get("maybe") is None,
    ),
    "is-null": (
        models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="maybe"))]),
        lambda p: "maybe" in p and p["maybe"] is None,
    ),
    "has-id": (models.Filter(must=[models.HasIdCondition(has_id=[3, 4, 500])]), lambda p: p["n"] in (3, 4)),
    "has-vector": (
        models.Filter(must=[models.HasVectorCondition(has_vector="s")]),
        lambda p: p["n"] % 2 == 1,
    ),
    "array-of-objects": (
        models.Filter(must=[value("parts[].size", 0), value("parts[].kind", "b")]),
        lambda p: any(x["size"] == 0 for x in p["parts"]),
    ),
    "nested": (
        models.Filter(
            must=[
                models.NestedCondition(
                    nested=models.Nested(
                        key="parts", filter=models.Filter(must=[value("size", 0), value("kind", "b")])
                    )
                )
            ]
        ),
        lambda p: any(x["size"] == 0 and x["kind"] == "b" for x in p["parts"]),
    ),
    "must-two": (models.Filter(must=[RED, SMALL]), lambda p: p["colour"] == "red" and p["n"] < 10),
    "should": (models.Filter(should=[RED, SMALL]), lambda p: p["colour"] == "red" or p["n"] < 10),
    "must-not": (models.Filter(must_not=[RED, SMALL]), lambda p: p["colour"] != "red" and p["n"] >= 10),
    "min-should": (
        models.Filter(min_should=models.MinShould(conditions=[RED, SMALL, EVEN], min_count=2)),
        lambda p: (p["colour"] == "red") + (p["n"] < 10) + p["even"] >= 2,
    ),
    "all-clauses": (
        models.Filter(must=[EVEN], should=[RED, SMALL], must_not=[value("n", 6)]),
        lambda p: p["even"] and (p["colour"] == "red" or p["n"] < 10) and p["n"] != 6,
    ),
    "filter-in-filter": (
        models.Filter(
            must=[
                models.Filter(should=[value("n", 1), value("n", 2)]),
                models.Filter(must_not=[value("n", 2)]),
            ]
        ),
        lambda p: p["n"] == 1,
    ),
    "single-condition": (models.Filter(must=RED), lambda p: p["colour"] == "red"),
    "empty": (models.Filter(), lambda p: True),
}


@pytest.mark.parametrize("case", TABLE)
def test_scroll_count_and_query_agree_with_python(client: QdrantClient, filled: str, case: str) -> None:
    wanted, holds = TABLE[case]
    expected = [i for i in range(SIZE) if holds(payload(i))]
    records, _ = client.scroll(filled, scroll_filter=wanted, limit=SIZE)
    assert [r.id for r in records] == expected
    assert client.count(filled, count_filter=wanted).count == len(expected)
    found = client.query_points(filled, query=[1.0, 0.0], using="a", query_filter=wanted, limit=SIZE)
    assert [p.id for p in found.points] == expected[::-1]


def test_phrase(client: QdrantClient, filled: str) -> None:
    phrase = models.Filter(must=[field("text", match=models.MatchPhrase(phrase="red fox number 3"))])
    ids = [r.id for r in client.scroll(filled, scroll_filter=phrase, limit=SIZE)[0]]
    assert 3 in ids
    assert all(isinstance(i, int) and i % 3 == 0 for i in ids)
