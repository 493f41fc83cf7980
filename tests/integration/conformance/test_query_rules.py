"""Rules of the query call beside ranking: constant scores, what is excluded, what does not go together."""

from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient, models

POINTS = 30
PLAIN, NEAREST = {"limit": 20}, {"query": [1.0, 0.0], "using": "d"}


@pytest.fixture
def filled(client: QdrantClient, name: str) -> str:
    """A collection with the vectors `d` and `e`, and the indexed number `n`."""
    size = models.VectorParams(size=2, distance=models.Distance.DOT)
    client.create_collection(name, vectors_config={"d": size, "e": size})
    client.create_payload_index(name, "n", field_schema=models.PayloadSchemaType.INTEGER)
    vectors: list[Any] = [{"d": [float(i), 1.0], "e": [1.0, float(i)]} for i in range(POINTS)]
    client.upsert(
        name, [models.PointStruct(id=i, vector=vectors[i], payload={"n": i}) for i in range(POINTS)]
    )
    return name


def query(raw: httpx.Client, name: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The points that a query gives."""
    answer = raw.post(f"/collections/{name}/points/query", json=body)
    assert answer.status_code == 200, answer.text
    points: list[dict[str, Any]] = answer.json()["result"]["points"]
    return points


UNRANKED: dict[str, dict[str, Any]] = {
    "no query": {},
    "ordered by payload": {"query": {"order_by": "n"}},
    "random sample": {"query": {"sample": "random"}},
    "random sample with a threshold": {"query": {"sample": "random"}, "score_threshold": 0.5},
    "ordered after a prefetch": {"query": {"order_by": "n"}, "prefetch": PLAIN},
    "sampled after a prefetch": {"query": {"sample": "random"}, "prefetch": PLAIN},
}


@pytest.mark.parametrize("case", UNRANKED)
def test_points_that_no_query_ranks_carry_a_constant(raw: httpx.Client, filled: str, case: str) -> None:
    """Qdrant shows 0 before 1.16, and 1 since then."""
    major, minor = (int(part) for part in raw.get("/").json()["version"].split(".")[:2])
    constant = 0.0 if (major, minor) < (1, 16) else 1.0
    points = query(raw, filled, UNRANKED[case] | {"limit": 4})
    assert [point["score"] for point in points] == [constant] * 4


def test_a_ranked_point_carries_its_score(raw: httpx.Client, filled: str) -> None:
    assert [p["score"] for p in query(raw, filled, NEAREST | {"limit": 3})] == [29.0, 28.0, 27.0]


def test_a_random_sample_has_no_offset(raw: httpx.Client, filled: str) -> None:
    body = {"query": {"sample": "random"}, "limit": POINTS, "offset": 10}
    assert len(query(raw, filled, body)) == POINTS
    assert len(query(raw, filled, body | {"prefetch": {"limit": POINTS}})) == POINTS - 10
    assert [p["id"] for p in query(raw, filled, {"limit": 3, "offset": 10})] == [10, 11, 12]


def test_the_seed_of_one_prefetch_is_in_no_other(raw: httpx.Client, filled: str) -> None:
    by_id = {"query": 29, "using": "d", "limit": 5}
    by_vector = {"query": [0.0, 1.0], "using": "e", "limit": 5}
    alone = query(raw, filled, {"prefetch": [by_vector], "query": {"fusion": "rrf"}, "limit": 30})
    assert {p["id"] for p in alone} == {29, 28, 27, 26, 25}
    both = query(raw, filled, {"prefetch": [by_id, by_vector], "query": {"fusion": "rrf"}, "limit": 30})
    assert {p["id"] for p in both} == {28, 27, 26, 25, 24}
    inner = {"prefetch": {"prefetch": [{"query": {"nearest": 28}, "using": "d"}], **by_vector}}
    assert {p["id"] for p in query(raw, filled, inner | {"query": 29, "using": "d"})} == {27, 26, 25, 24, 23}


@pytest.mark.parametrize(
    "body",
    [
        {"score_threshold": 0.5},
        {"query": {"order_by": "n"}, "score_threshold": 0.5},
        {"query": {"fusion": "rrf"}, "prefetch": [NEAREST], "using": "d"},
        {"query": {"fusion": "rrf"}, "prefetch": [{"score_threshold": 0.5}]},
        {"query": {"fusion": "rrf"}, "prefetch": [{"query": {"order_by": "n"}, "score_threshold": 0.5}]},
        {"query": {"fusion": "rrf"}, "prefetch": [{"prefetch": [NEAREST]}]},
    ],
)
def test_what_does_not_go_together_is_400(raw: httpx.Client, filled: str, body: dict[str, Any]) -> None:
    answer = raw.post(f"/collections/{filled}/points/query", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["status"]["error"].startswith("Wrong input: ")
