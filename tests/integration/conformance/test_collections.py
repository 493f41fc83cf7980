"""Collections: create, show, change, list, delete."""

import httpx
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

DENSE = models.VectorParams(size=4, distance=models.Distance.COSINE)


def test_create_show_list_delete(client: QdrantClient, name: str) -> None:
    assert not client.collection_exists(name)
    assert client.create_collection(
        name,
        vectors_config={"dense": DENSE, "small": models.VectorParams(size=2, distance=models.Distance.DOT)},
        sparse_vectors_config={"sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    assert client.collection_exists(name)
    assert name in [c.name for c in client.get_collections().collections]
    params = client.get_collection(name).config.params
    assert isinstance(params.vectors, dict)
    assert params.vectors["dense"].size == 4
    assert params.vectors["dense"].distance == models.Distance.COSINE
    assert params.sparse_vectors is not None
    assert params.sparse_vectors["sparse"].modifier == models.Modifier.IDF
    assert client.delete_collection(name)
    assert not client.collection_exists(name)
    assert not client.delete_collection(name)


def test_an_empty_collection_is_green_and_has_qdrants_defaults(client: QdrantClient, name: str) -> None:
    client.create_collection(name, vectors_config=DENSE)
    info = client.get_collection(name)
    assert (info.status, info.optimizer_status) == (
        models.CollectionStatus.GREEN,
        models.OptimizersStatusOneOf.OK,
    )
    assert (info.points_count, info.segments_count >= 1, info.payload_schema) == (0, True, {})
    assert (info.config.hnsw_config.m, info.config.hnsw_config.ef_construct) == (16, 100)
    assert info.config.optimizer_config.deleted_threshold == pytest.approx(0.2)
    assert isinstance(info.config.params.vectors, models.VectorParams)


def test_update_as_the_target_does_at_its_start(client: QdrantClient, name: str) -> None:
    client.create_collection(name, vectors_config={"dense": DENSE})
    assert client.update_collection(
        name,
        optimizer_config=models.OptimizersConfigDiff(default_segment_number=2, memmap_threshold=20000),
        hnsw_config=models.HnswConfigDiff(m=24, ef_construct=120, full_scan_threshold=10000),
    )
    config = client.get_collection(name).config
    assert (config.hnsw_config.m, config.hnsw_config.ef_construct) == (24, 120)
    assert (config.optimizer_config.default_segment_number, config.optimizer_config.memmap_threshold) == (
        2,
        20000,
    )
    assert config.optimizer_config.deleted_threshold == pytest.approx(0.2)


def test_creating_twice_is_409_and_changes_nothing(client: QdrantClient, name: str) -> None:
    client.create_collection(name, vectors_config=DENSE)
    with pytest.raises(UnexpectedResponse) as caught:
        client.create_collection(
            name, vectors_config=models.VectorParams(size=9, distance=models.Distance.DOT)
        )
    assert caught.value.status_code == 409
    assert b"already exists" in caught.value.content
    vectors = client.get_collection(name).config.params.vectors
    assert isinstance(vectors, models.VectorParams)
    assert vectors.size == 4


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {}),
        ("PUT", "/points", {"points": [{"id": 1, "vector": [1.0]}]}),
        ("POST", "/points", {"ids": [1]}),
        ("GET", "/points/1", None),
        ("POST", "/points/search", {"vector": [1.0], "limit": 1}),
        ("POST", "/points/query", {"query": [1.0]}),
        ("POST", "/points/scroll", {}),
        ("POST", "/points/count", {}),
        ("POST", "/points/delete", {"points": [1]}),
        ("PUT", "/index", {"field_name": "a", "field_schema": "keyword"}),
    ],
)
def test_every_call_on_an_unknown_collection_is_404(
    raw: httpx.Client, method: str, path: str, body: object
) -> None:
    answer = raw.request(method, f"/collections/there-is-none{path}", json=body)
    assert answer.status_code == 404
    assert "doesn't exist" in answer.json()["status"]["error"]


@pytest.mark.parametrize(
    "body",
    [
        {"vectors": {"size": 0, "distance": "Cosine"}},
        {"vectors": {"size": "four", "distance": "Cosine"}},
        {"vectors": {"size": 4, "distance": "Hamming"}},
        {"vectors": {"size": 4}},
        {"vectors": []},
    ],
)
def test_a_wrong_vector_configuration_is_refused(raw: httpx.Client, name: str, body: object) -> None:
    assert raw.put(f"/collections/{name}", json=body).status_code in (400, 422)
    assert not raw.get(f"/collections/{name}/exists").json()["result"]["exists"]


def test_a_body_that_is_not_json_is_400(raw: httpx.Client, name: str) -> None:
    answer = raw.put(f"/collections/{name}", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["status"]["error"]


def test_answers_have_the_envelope(raw: httpx.Client) -> None:
    answer = raw.get("/collections").json()
    assert answer["status"] == "ok"
    assert answer["time"] >= 0
    assert "collections" in answer["result"]


def test_sparse_only(client: QdrantClient, name: str) -> None:
    client.create_collection(name, sparse_vectors_config={"s": models.SparseVectorParams()})
    client.upsert(
        name, [models.PointStruct(id=1, vector={"s": models.SparseVector(indices=[7], values=[2.0])})]
    )
    assert client.count(name).count == 1
