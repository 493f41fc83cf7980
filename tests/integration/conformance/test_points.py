"""Points: upsert, read back, count, delete."""

import uuid
from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

PAYLOAD: dict[str, Any] = {
    "integer": 1,
    "large": 2**63 - 1,
    "negative": -5,
    "float": 1.5,
    "text": "naïve ✓",
    "null": None,
    "yes": True,
    "list": [1, [2, {"x": None}]],
    "object": {"a": {"b": []}},
    "empty": {},
}


@pytest.fixture
def points(client: QdrantClient, name: str) -> str:
    """A collection with a dense vector `d` and a sparse one `s`, points 0 to 19."""
    client.create_collection(
        name,
        vectors_config={"d": models.VectorParams(size=2, distance=models.Distance.DOT)},
        sparse_vectors_config={"s": models.SparseVectorParams()},
    )
    client.upsert(name, [point(i) for i in range(20)])
    return name


def point(number: int) -> models.PointStruct:
    """A point whose vectors and payload follow from its number."""
    sparse = models.SparseVector(indices=[number, number + 1], values=[1.0, 0.5])
    return models.PointStruct(
        id=number, vector={"d": [float(number), 1.0], "s": sparse}, payload={"n": number}
    )


def test_what_was_written_is_read_back(client: QdrantClient, points: str) -> None:
    client.upsert(points, [models.PointStruct(id=7, vector={"d": [3.0, 4.0]}, payload=PAYLOAD)])
    (record,) = client.retrieve(points, [7], with_vectors=True)
    assert record.payload == PAYLOAD
    assert record.vector == {"d": [3.0, 4.0]}


def test_an_upsert_replaces_the_whole_point(client: QdrantClient, points: str) -> None:
    client.upsert(points, [models.PointStruct(id=3, vector={"d": [9.0, 9.0]}, payload={"other": 1})])
    (record,) = client.retrieve(points, [3], with_vectors=True)
    assert (record.payload, record.vector) == ({"other": 1}, {"d": [9.0, 9.0]})
    assert client.count(points).count == 20


def test_sparse_and_dense_vectors_are_read_back(client: QdrantClient, points: str) -> None:
    (record,) = client.retrieve(points, [5], with_vectors=True)
    assert isinstance(record.vector, dict)
    sparse = record.vector["s"]
    assert isinstance(sparse, models.SparseVector)
    assert dict(zip(sparse.indices, sparse.values, strict=True)) == {5: 1.0, 6: 0.5}
    (only,) = client.retrieve(points, [5], with_vectors=["d"])
    assert only.vector == {"d": [5.0, 1.0]}


def test_an_unnamed_vector_is_a_plain_array(client: QdrantClient, name: str) -> None:
    client.create_collection(
        name, vectors_config=models.VectorParams(size=2, distance=models.Distance.EUCLID)
    )
    client.upsert(name, [models.PointStruct(id=1, vector=[3.0, 4.0])])
    assert client.retrieve(name, [1], with_vectors=True)[0].vector == [3.0, 4.0]


def test_the_columnar_form(client: QdrantClient, points: str) -> None:
    batch = models.Batch(
        ids=[100, 101], vectors={"d": [[1.0, 2.0], [3.0, 4.0]]}, payloads=[{"n": 100}, {"n": 101}]
    )
    client.upsert(points, batch)
    records = {r.id: r for r in client.retrieve(points, [100, 101], with_vectors=True)}
    assert records[101].vector == {"d": [3.0, 4.0]}
    assert records[100].payload == {"n": 100}


def test_ids_are_integers_or_uuids_in_any_spelling(client: QdrantClient, points: str) -> None:
    one = uuid.uuid4()
    for spelling in (str(one), one.hex, f"urn:uuid:{one}"):
        client.upsert(
            points, [models.PointStruct(id=spelling, vector={"d": [1.0, 1.0]}, payload={"u": spelling})]
        )
    client.upsert(points, [models.PointStruct(id=2**64 - 1, vector={"d": [1.0, 1.0]})])
    assert client.count(points).count == 22
    assert client.retrieve(points, [one.hex])[0].id == str(one)
    assert client.retrieve(points, [2**64 - 1])[0].id == 2**64 - 1


@pytest.mark.parametrize("bad", ["not-a-uuid", -1, 1.5, True, None, 2**64])
def test_other_ids_are_400(raw: httpx.Client, points: str, bad: object) -> None:
    answer = raw.put(
        f"/collections/{points}/points", json={"points": [{"id": bad, "vector": {"d": [1.0, 1.0]}}]}
    )
    assert answer.status_code == 400
    assert raw.post(f"/collections/{points}/points/count", json={}).json()["result"]["count"] == 20


def test_one_point_by_path(raw: httpx.Client, points: str) -> None:
    result = raw.get(f"/collections/{points}/points/4").json()["result"]
    assert (result["id"], result["payload"], result["vector"]["d"]) == (4, {"n": 4}, [4.0, 1.0])
    assert raw.get(f"/collections/{points}/points/400").status_code == 404


def test_which_parts_are_shown(client: QdrantClient, points: str) -> None:
    client.upsert(
        points, [models.PointStruct(id=1, vector={"d": [1.0, 1.0]}, payload={"a": 1, "b": {"c": 2, "d": 3}})]
    )

    def shown(selector: Any) -> Any:
        return client.retrieve(points, [1], with_payload=selector)[0].payload

    assert shown(True) == {"a": 1, "b": {"c": 2, "d": 3}}
    assert not shown(False)
    assert shown(["a"]) == {"a": 1}
    assert shown(models.PayloadSelectorInclude(include=["b.c"])) == {"b": {"c": 2}}
    assert shown(models.PayloadSelectorExclude(exclude=["a"])) == {"b": {"c": 2, "d": 3}}
    assert client.retrieve(points, [1])[0].vector is None


def test_unknown_points_are_left_out(client: QdrantClient, points: str) -> None:
    assert [r.id for r in client.retrieve(points, [1, 999])] == [1]


def test_delete_by_ids_and_by_filter(client: QdrantClient, points: str) -> None:
    done = client.delete(points, models.PointIdsList(points=[1, 2, 999]))
    assert done.status == models.UpdateStatus.COMPLETED
    assert client.count(points).count == 18
    under_ten = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(lt=10))])
    client.delete(points, models.FilterSelector(filter=under_ten))
    assert client.count(points).count == 10
    assert client.retrieve(points, [3]) == []


def test_count_with_a_filter(client: QdrantClient, points: str) -> None:
    odd = models.Filter(must=[models.FieldCondition(key="n", match=models.MatchAny(any=[1, 3, 5]))])
    assert client.count(points, count_filter=odd, exact=True).count == 3
    assert client.count(points, exact=False).count == 20


def test_without_waiting_the_status_is_acknowledged(client: QdrantClient, points: str) -> None:
    done = client.upsert(points, [point(50)], wait=False)
    assert done.status == models.UpdateStatus.ACKNOWLEDGED


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ({"d": [1.0]}, "Vector dimension error"),
        ({"d": [1.0, 2.0, 3.0]}, "Vector dimension error"),
        ({"zz": [1.0, 2.0]}, "Not existing vector name"),
        ([1.0, 2.0], "Not existing vector name"),
    ],
)
def test_a_wrong_vector_is_400(client: QdrantClient, points: str, vector: Any, message: str) -> None:
    with pytest.raises(UnexpectedResponse) as caught:
        client.upsert(points, [models.PointStruct(id=1000, vector=vector)])
    assert caught.value.status_code == 400
    assert message.encode() in caught.value.content
    assert client.retrieve(points, [1000]) == []


@pytest.mark.parametrize(
    "vector",
    [
        {"s": {"indices": [1, 1], "values": [1.0, 2.0]}},
        {"s": {"indices": [1], "values": [1.0, 2.0]}},
        {"s": {"indices": [-1], "values": [1.0]}},
        {"d": ["a", "b"]},
        {"d": None},
        None,
    ],
)
def test_a_malformed_vector_is_refused_and_does_no_harm(
    raw: httpx.Client, points: str, vector: object, refusals: frozenset[int]
) -> None:
    """The engine panics on some of these, which must not reach it."""
    answer = raw.put(
        f"/collections/{points}/points?wait=true", json={"points": [{"id": 1000, "vector": vector}]}
    )
    assert answer.status_code in refusals, answer.text
    assert raw.get(f"/collections/{points}/points/1000").status_code == 404
    assert raw.post(f"/collections/{points}/points/count", json={}).json()["result"]["count"] == 20


def test_a_batch_with_one_wrong_point_is_refused_whole(
    raw: httpx.Client, points: str, edge_only: None
) -> None:
    good = [{"id": 2000 + i, "vector": {"d": [1.0, 2.0]}} for i in range(300)]
    bad = {"id": 1, "vector": {"d": [1.0]}}
    assert raw.put(f"/collections/{points}/points", json={"points": [*good, bad]}).status_code == 400
    assert raw.post(f"/collections/{points}/points/count", json={}).json()["result"]["count"] == 20


def test_an_empty_upsert_is_400(raw: httpx.Client, points: str) -> None:
    assert raw.put(f"/collections/{points}/points", json={"points": []}).status_code == 400


def test_a_large_batch(client: QdrantClient, points: str) -> None:
    client.upsert(points, [point(i) for i in range(1000, 3000)])
    assert client.count(points).count == 2020
    assert {r.payload["n"] for r in client.retrieve(points, [1000, 1999, 2999]) if r.payload} == {
        1000,
        1999,
        2999,
    }
