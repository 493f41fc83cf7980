"""What the embedded-engine server lacks it refuses by name; what it does not know it never ignores."""

from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient, models

pytestmark = pytest.mark.usefixtures("edge_only")


@pytest.fixture
def small(client: QdrantClient, name: str) -> str:
    """A collection with one point."""
    client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    client.upsert(name, [models.PointStruct(id=1, vector=[1.0, 2.0])])
    return name


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/points/recommend"),
        ("POST", "/points/discover"),
        ("POST", "/points/search/batch"),
        ("POST", "/points/search/groups"),
        ("POST", "/points/query/batch"),
        ("POST", "/points/query/groups"),
        ("POST", "/points/batch"),
        ("POST", "/points/payload"),
        ("PUT", "/points/vectors"),
        ("POST", "/facet"),
        ("POST", "/snapshots"),
        ("GET", "/cluster"),
        ("POST", ""),
    ],
)
def test_calls_not_implemented_are_501_and_named(
    raw: httpx.Client, small: str, method: str, path: str
) -> None:
    answer = raw.request(method, f"/collections/{small}{path}", json={})
    assert answer.status_code == 501
    expected = f"Not implemented by qdrant-edge server: {method} /collections/{small}{path}"
    assert answer.json()["status"]["error"] == expected


@pytest.mark.parametrize("path", ["/telemetry", "/cluster", "/snapshots", "/aliases", "/locks"])
def test_service_calls_not_implemented(raw: httpx.Client, path: str) -> None:
    assert raw.get(path).status_code == 501


VECTOR = [1.0, 2.0]
NOT_IMPLEMENTED: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/points/query", {"query": VECTOR, "shard_key": "a"}, "shard_key"),
    ("POST", "/points/query", {"query": VECTOR, "lookup_from": {"collection": "c"}}, "lookup_from"),
    ("POST", "/points/query", {"query": {"recommend": {"positive": [1]}}}, "recommend"),
    ("POST", "/points/query", {"query": {"nearest": VECTOR, "mmr": {"diversity": 0.5}}}, "mmr"),
    ("POST", "/points/query", {"query": {"formula": "$score"}}, "formula"),
    ("POST", "/points/query", {"query": {"text": "x", "model": "y"}}, "text"),
    (
        "POST",
        "/points/query",
        {"query": VECTOR, "params": {"quantization": {"ignore": True}}},
        "quantization",
    ),
    ("POST", "/points/scroll", {"filter": {"must": [{"key": "a", "geo_radius": {}}]}}, "geo_radius"),
    ("PUT", "/points", {"points": [{"id": 1, "vector": [VECTOR]}]}, "multivector"),
    ("PUT", "/points", {"points": [{"id": 1, "vector": VECTOR}], "update_filter": {}}, "update_filter"),
    ("PATCH", "", {"quantization_config": {"scalar": {"type": "int8"}}}, "quantization_config"),
    ("PATCH", "", {"params": {"replication_factor": 2}}, "replication_factor"),
]


@pytest.mark.parametrize(("method", "path", "body", "named"), NOT_IMPLEMENTED, ids=lambda v: str(v)[:40])
def test_fields_not_implemented_are_501_and_named(
    raw: httpx.Client, small: str, method: str, path: str, body: dict[str, Any], named: str
) -> None:
    answer = raw.request(method, f"/collections/{small}{path}", json=body)
    assert answer.status_code == 501, answer.text
    assert named in answer.json()["status"]["error"]


UNKNOWN: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/points/search", {"vector": VECTOR, "limit": 1, "zork": 1}),
    ("POST", "/points/query", {"query": VECTOR, "zork": 1}),
    ("POST", "/points/query", {"query": VECTOR, "params": {"zork": 1}}),
    ("POST", "/points/query", {"query": {"fusion": "rrf", "zork": 1}, "prefetch": [{"query": VECTOR}]}),
    ("POST", "/points/query", {"query": {"fusion": "rrf"}, "prefetch": [{"query": VECTOR, "zork": 1}]}),
    ("POST", "/points/scroll", {"zork": 1}),
    ("POST", "/points/scroll", {"filter": {"zork": []}}),
    ("POST", "/points/scroll", {"filter": {"must": [{"key": "a", "match": {"value": 1, "zork": 2}}]}}),
    ("POST", "/points/scroll", {"filter": {"must": [{"key": "a", "range": {"gt": 1, "zork": 2}}]}}),
    (
        "POST",
        "/points/scroll",
        {"filter": {"must": [{"key": "a", "match": {"value": 1}, "range": {"gt": 1}}]}},
    ),
    ("POST", "/points/count", {"zork": True}),
    ("POST", "/points/delete", {"points": [1], "zork": 1}),
    ("POST", "/points/delete", {"points": [1], "filter": {}}),
    ("POST", "/points", {"ids": [1], "zork": 1}),
    ("POST", "/points", {"ids": [1], "with_payload": {"include": [], "zork": []}}),
    ("PUT", "/points", {"points": [{"id": 1, "vector": VECTOR, "zork": 1}]}),
    ("PUT", "/points", {"points": [{"id": 1, "vector": VECTOR}], "zork": 1}),
    ("PUT", "/points?zork=1", {"points": [{"id": 1, "vector": VECTOR}]}),
    ("PUT", "/points?wait=perhaps", {"points": [{"id": 1, "vector": VECTOR}]}),
    ("PUT", "/index", {"field_name": "a", "field_schema": {"type": "keyword", "zork": 1}}),
    ("PATCH", "", {"zork": {}}),
    ("PATCH", "", {"optimizers_config": {"zork": 1}}),
    ("PATCH", "", {"hnsw_config": {"zork": 1}}),
]


@pytest.mark.parametrize(("method", "path", "body"), UNKNOWN, ids=lambda v: str(v)[:60])
def test_unknown_fields_are_400_and_change_nothing(
    raw: httpx.Client, small: str, method: str, path: str, body: dict[str, Any]
) -> None:
    before = raw.get(f"/collections/{small}").json()["result"]
    answer = raw.request(method, f"/collections/{small}{path}", json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["status"]["error"]
    assert "zork" in error or "exactly one" in error or "wait" in error
    assert raw.get(f"/collections/{small}").json()["result"] == before


def test_unknown_fields_of_a_new_collection_are_400(raw: httpx.Client, name: str) -> None:
    good = {"vectors": {"size": 2, "distance": "Dot"}}
    for bad in (good | {"zork": 1}, {"vectors": {"size": 2, "distance": "Dot", "zork": 1}}):
        assert raw.put(f"/collections/{name}", json=bad).status_code == 400
    lacks: tuple[dict[str, Any], ...] = (
        {"shard_number": 2},
        {"quantization_config": {"binary": {}}},
        {"init_from": {"collection": "c"}},
    )
    for lacking in lacks:
        assert raw.put(f"/collections/{name}", json=good | lacking).status_code == 501
    assert raw.get(f"/collections/{name}").status_code == 404


@pytest.mark.parametrize("body", [{}, {"vectors": {}}, {"vectors": {}, "sparse_vectors": {}}])
def test_a_collection_without_vectors_is_501(raw: httpx.Client, name: str, body: dict[str, Any]) -> None:
    answer = raw.put(f"/collections/{name}", json=body)
    assert answer.status_code == 501, answer.text
    assert "without vectors" in answer.json()["status"]["error"]
    assert raw.get(f"/collections/{name}").status_code == 404


@pytest.mark.parametrize(
    ("bounds", "status"),
    [
        ({"gte": 0}, 501),
        ({"lt": 3}, 501),
        ({"lte": 0}, 501),
        ({"gte": 0, "lte": 2}, 501),
        ({}, 501),
        ({"gt": 0}, 200),
        ({"gte": 1, "lt": 3}, 200),
        ({"lt": 0}, 200),
    ],
)
def test_bounds_on_the_number_of_values_that_include_0_are_501(
    raw: httpx.Client, small: str, bounds: dict[str, int], status: int
) -> None:
    """Up to Qdrant 1.18 they leave out points without the field; this engine would find them."""
    body = {"filter": {"must": [{"key": "nowhere", "values_count": bounds}]}}
    answer = raw.post(f"/collections/{small}/points/count", json=body)
    assert answer.status_code == status, answer.text
    assert status == 501 or answer.json()["result"]["count"] == 0


@pytest.mark.parametrize(
    ("index", "listed", "status"),
    [
        ("keyword", ["x"], 200),
        ("keyword", [], 200),
        ("keyword", [1], 501),
        ("integer", [1], 200),
        ("integer", ["x"], 501),
        ("integer", [], 501),
        ({"type": "integer", "lookup": False, "range": True}, [1], 501),
        ("float", [1], 501),
        ("text", ["x"], 501),
        ("uuid", ["x"], 200),
    ],
)
def test_except_on_a_key_with_an_index_of_another_type_is_501(
    raw: httpx.Client, small: str, index: Any, listed: list[Any], status: int
) -> None:
    """Until 1.17, Qdrant matches every point of which such an index holds any value; this engine reads the payload."""
    raw.put(
        f"/collections/{small}/points?wait=true",
        json={"points": [{"id": 2, "vector": VECTOR, "payload": {"a": None}}]},
    )
    body = {"filter": {"must": [{"key": "a", "match": {"except": listed}}]}}
    assert raw.post(f"/collections/{small}/points/count", json=body).json()["result"]["count"] == 0
    made = raw.put(f"/collections/{small}/index?wait=true", json={"field_name": "a", "field_schema": index})
    assert made.status_code == 200, made.text
    assert raw.post(f"/collections/{small}/points/count", json=body).status_code == status
    nested = {"filter": {"must": [{"nested": {"key": "b", "filter": body["filter"]}}]}}
    assert raw.post(f"/collections/{small}/points/count", json=nested).status_code == 200


@pytest.mark.parametrize("bad", ["a:b", "a*b", "x" * 256, ".."])
def test_names_that_qdrant_refuses(raw: httpx.Client, bad: str) -> None:
    path = bad.replace(".", "%2E")
    answer = raw.put(f"/collections/{path}", json={"vectors": {"size": 2, "distance": "Dot"}})
    assert answer.status_code in (404, 422)


def test_a_body_above_32_mib_is_413(raw: httpx.Client, small: str) -> None:
    body = b'{"filter": {}, "x": "' + b"x" * (32 * 2**20) + b'"}'
    assert raw.post(f"/collections/{small}/points/count", content=body).status_code == 413
