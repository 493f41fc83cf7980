"""Search and query: scores and order against brute force in NumPy."""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

Floats = NDArray[np.float64]
POINTS, DIMENSION, VOCABULARY = 200, 16, 30
TOLERANCE = 2e-5
GENERATOR = np.random.default_rng(7)
DENSE: Floats = GENERATOR.normal(size=(POINTS, DIMENSION))
OTHER: Floats = GENERATOR.normal(size=(POINTS, DIMENSION))
SPARSE: Floats = GENERATOR.random((POINTS, VOCABULARY)) * (GENERATOR.random((POINTS, VOCABULARY)) < 0.15)
SPARSE[:, -1] += 0.1  # no empty vector: whether `idf` counts those is nowhere promised
QUERY: Floats = GENERATOR.normal(size=DIMENSION)
WORDS = [2, 5, 11]
WEIGHTS = [0.9, 0.4, 1.7]
# The rank constant of reciprocal rank fusion in Qdrant.
RRF_K = 2

pytestmark = pytest.mark.filterwarnings("ignore:.*method is deprecated:DeprecationWarning")


def cosine(vectors: Floats, query: Floats) -> Floats:
    """Cosine similarity of each row with the query."""
    similarity: Floats = vectors @ query / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query))
    return similarity


def word_scores(idf: bool) -> Floats:
    """Dot products with the sparse query, weighted by rarity as Qdrant's `idf` modifier does."""
    weights = np.array(WEIGHTS)
    if idf:
        holders = (SPARSE[:, WORDS] > 0).sum(axis=0)
        weights = weights * np.log((POINTS - holders + 0.5) / (holders + 0.5) + 1)
    scores: Floats = SPARSE[:, WORDS] @ weights
    return scores


def sparse_query() -> models.SparseVector:
    """The query as a sparse vector."""
    return models.SparseVector(indices=WORDS, values=WEIGHTS)


@pytest.fixture(scope="module")
def filled(client: QdrantClient) -> Iterator[str]:
    """POINTS points with two dense vectors and the same sparse vector with and without `idf`."""
    name = f"conformance-search-{uuid4().hex[:8]}"
    size = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    client.create_collection(
        name,
        vectors_config={"dense": size, "other": size},
        sparse_vectors_config={
            "words": models.SparseVectorParams(),
            "rare": models.SparseVectorParams(modifier=models.Modifier.IDF),
        },
    )
    client.create_payload_index(name, "n", field_schema=models.PayloadSchemaType.INTEGER)
    client.upsert(name, [point(i) for i in range(POINTS)])
    yield name
    client.delete_collection(name)


def point(i: int) -> models.PointStruct:
    """Point i, with row i of each matrix."""
    held = np.flatnonzero(SPARSE[i])
    sparse = models.SparseVector(indices=held.tolist(), values=SPARSE[i, held].tolist())
    vector: Any = {"dense": DENSE[i].tolist(), "other": OTHER[i].tolist(), "words": sparse, "rare": sparse}
    return models.PointStruct(id=i, vector=vector, payload={"n": i, "group": i % 4})


def best(scores: Floats, limit: int, smallest: bool = False) -> list[int]:
    """The indices of the best scores, best first."""
    order = np.argsort(scores if smallest else -scores, kind="stable")
    return [int(i) for i in order[:limit]]


def check(points: list[models.ScoredPoint], expected: Floats, ids: list[int]) -> None:
    """Ids in this order, each with its score."""
    assert [p.id for p in points] == ids
    assert [p.score for p in points] == pytest.approx(list(expected[ids]), abs=TOLERANCE)


def test_dense(client: QdrantClient, filled: str) -> None:
    expected = cosine(DENSE, QUERY)
    points = client.query_points(filled, query=QUERY.tolist(), using="dense", limit=10).points
    check(points, expected, best(expected, 10))
    older = client.search(filled, query_vector=("dense", QUERY.tolist()), limit=10)
    check(older, expected, best(expected, 10))


@pytest.mark.parametrize("distance", list(models.Distance))
def test_every_distance(client: QdrantClient, name: str, distance: models.Distance) -> None:
    client.create_collection(name, vectors_config=models.VectorParams(size=DIMENSION, distance=distance))
    client.upsert(name, [models.PointStruct(id=i, vector=DENSE[i].tolist()) for i in range(POINTS)])
    expected: Floats = {
        models.Distance.COSINE: cosine(DENSE, QUERY),
        models.Distance.DOT: DENSE @ QUERY,
        models.Distance.EUCLID: np.linalg.norm(DENSE - QUERY, axis=1),
        models.Distance.MANHATTAN: np.abs(DENSE - QUERY).sum(axis=1),
    }[distance]
    smallest = distance in (models.Distance.EUCLID, models.Distance.MANHATTAN)
    ids = best(expected, 10, smallest)
    check(client.query_points(name, query=QUERY.tolist(), limit=10).points, expected, ids)
    threshold = float(expected[ids[4]] + expected[ids[5]]) / 2
    cut = client.query_points(name, query=QUERY.tolist(), limit=10, score_threshold=threshold).points
    check(cut, expected, ids[:5])


@pytest.mark.parametrize("using", ["words", "rare"])
def test_sparse(client: QdrantClient, filled: str, using: str) -> None:
    expected = word_scores(idf=using == "rare")
    points = client.query_points(filled, query=sparse_query(), using=using, limit=10).points
    check(points, expected, best(expected, 10))
    named = models.NamedSparseVector(name=using, vector=sparse_query())
    check(client.search(filled, query_vector=named, limit=10), expected, best(expected, 10))


def test_sparse_finds_only_what_shares_a_word(client: QdrantClient, filled: str) -> None:
    points = client.query_points(filled, query=sparse_query(), using="words", limit=POINTS).points
    assert {p.id for p in points} == {int(i) for i in np.flatnonzero(word_scores(idf=False))}


def test_offset_threshold_filter_and_parts(client: QdrantClient, filled: str) -> None:
    expected = cosine(DENSE, QUERY)
    ids = best(expected, 10)
    page = client.query_points(filled, query=QUERY.tolist(), using="dense", limit=4, offset=3).points
    check(page, expected, ids[3:7])
    enough = float(expected[ids[2]]) - TOLERANCE
    found = client.query_points(
        filled, query=QUERY.tolist(), using="dense", score_threshold=enough, limit=10
    ).points
    check(found, expected, ids[:3])
    even = models.Filter(must=[models.FieldCondition(key="group", match=models.MatchValue(value=2))])
    grouped = client.query_points(
        filled, query=QUERY.tolist(), using="dense", query_filter=even, limit=5
    ).points
    check(grouped, expected, [i for i in best(expected, POINTS) if i % 4 == 2][:5])
    (first,) = client.query_points(
        filled, query=QUERY.tolist(), using="dense", limit=1, with_payload=["group"], with_vectors=["other"]
    ).points
    assert first.payload == {"group": ids[0] % 4}
    assert isinstance(first.vector, dict)
    assert list(first.vector) == ["other"]


def test_search_shows_no_payload_unless_asked(raw: httpx.Client, filled: str) -> None:
    body = {"vector": {"name": "dense", "vector": QUERY.tolist()}, "limit": 1}
    (found,) = raw.post(f"/collections/{filled}/points/search", json=body).json()["result"]
    assert found.get("payload") is None
    assert found.get("vector") is None
    assert found["version"] >= 0


def test_query_by_id_leaves_the_point_itself_out(client: QdrantClient, filled: str) -> None:
    expected = cosine(DENSE, DENSE[5])
    expected[5] = -1
    check(client.query_points(filled, query=5, using="dense", limit=6).points, expected, best(expected, 6))


def test_rrf_against_brute_force(client: QdrantClient, filled: str) -> None:
    limit = 25
    rankings = [best(cosine(DENSE, QUERY), limit), best(word_scores(idf=False), limit)]
    fused: Counter[int] = Counter()
    for ranking in rankings:
        for rank, i in enumerate(ranking):
            fused[i] += 1 / (RRF_K + rank)  # type: ignore[assignment]
    prefetch = [
        models.Prefetch(query=QUERY.tolist(), using="dense", limit=limit),
        models.Prefetch(query=sparse_query(), using="words", limit=limit),
    ]
    query = models.FusionQuery(fusion=models.Fusion.RRF)
    points = client.query_points(filled, prefetch=prefetch, query=query, limit=100).points
    compare_fused(points, dict(fused))


def test_dbsf_against_brute_force(client: QdrantClient, filled: str) -> None:
    limit = 25
    fused: dict[int, float] = {}
    for scores in (cosine(DENSE, QUERY), cosine(OTHER, QUERY)):
        ids = best(scores, limit)
        mean, deviation = scores[ids].mean(), scores[ids].std(ddof=1)
        for i in ids:
            fused[i] = fused.get(i, 0.0) + (scores[i] - (mean - 3 * deviation)) / (6 * deviation)
    prefetch = [
        models.Prefetch(query=QUERY.tolist(), using=using, limit=limit) for using in ("dense", "other")
    ]
    query = models.FusionQuery(fusion=models.Fusion.DBSF)
    points = client.query_points(filled, prefetch=prefetch, query=query, limit=100).points
    compare_fused(points, fused)


def compare_fused(points: list[models.ScoredPoint], fused: dict[int, float]) -> None:
    """The same points with the same scores, best first; the order among equals is free."""
    assert {p.id: p.score for p in points} == pytest.approx(fused, abs=1e-4)
    scores = [p.score for p in points]
    assert scores == sorted(scores, reverse=True)


def test_a_prefetch_narrows_and_the_query_ranks(client: QdrantClient, filled: str) -> None:
    candidates = best(cosine(OTHER, QUERY), 20)
    expected = cosine(DENSE, QUERY)
    prefetch = models.Prefetch(query=QUERY.tolist(), using="other", limit=20)
    points = client.query_points(
        filled, prefetch=prefetch, query=QUERY.tolist(), using="dense", limit=8
    ).points
    check(points, expected, [i for i in best(expected, POINTS) if i in candidates][:8])


def test_prefetches_nest_and_filter(client: QdrantClient, filled: str) -> None:
    few = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(lt=50))])
    inner = models.Prefetch(query=QUERY.tolist(), using="other", limit=15, filter=few)
    outer = models.Prefetch(prefetch=inner, query=QUERY.tolist(), using="dense", limit=5)
    points = client.query_points(
        filled, prefetch=[outer], query=models.FusionQuery(fusion=models.Fusion.RRF), limit=5
    ).points
    candidates = [i for i in best(cosine(OTHER, QUERY), POINTS) if i < 50][:15]
    assert [p.id for p in points] == [i for i in best(cosine(DENSE, QUERY), POINTS) if i in candidates][:5]


def test_order_by_sample_and_no_query(client: QdrantClient, filled: str) -> None:
    ordered = client.query_points(
        filled,
        query=models.OrderByQuery(order_by=models.OrderBy(key="n", direction=models.Direction.DESC)),
        limit=3,
    ).points
    assert [p.id for p in ordered] == [POINTS - 1, POINTS - 2, POINTS - 3]
    drawn = client.query_points(filled, query=models.SampleQuery(sample=models.Sample.RANDOM), limit=5).points
    assert len({p.id for p in drawn}) == 5
    assert [p.id for p in client.query_points(filled, limit=3).points] == [0, 1, 2]


def test_exact_and_hnsw_parameters_are_taken(client: QdrantClient, filled: str) -> None:
    expected = cosine(DENSE, QUERY)
    for parameters in (models.SearchParams(exact=True), models.SearchParams(hnsw_ef=64, indexed_only=False)):
        points = client.query_points(
            filled, query=QUERY.tolist(), using="dense", limit=5, search_params=parameters
        ).points
        check(points, expected, best(expected, 5))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": [1.0], "using": "dense"}, 400),
        ({"query": QUERY.tolist(), "using": "nobody"}, 400),
        ({"query": QUERY.tolist()}, 400),
        ({"query": {"fusion": "rrf"}}, 400),
        ({"prefetch": {"query": QUERY.tolist(), "using": "dense"}}, 400),
        ({"query": 100000, "using": "dense"}, 404),
        ({"query": QUERY.tolist(), "using": "dense", "limit": 0}, 422),
        ({"query": {"fusion": "best"}, "prefetch": [{"query": QUERY.tolist(), "using": "dense"}]}, 400),
        ({"query": {"order_by": "no-index"}}, 400),
    ],
)
def test_wrong_queries(raw: httpx.Client, filled: str, body: dict[str, Any], status: int) -> None:
    answer = raw.post(f"/collections/{filled}/points/query", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["status"]["error"]
