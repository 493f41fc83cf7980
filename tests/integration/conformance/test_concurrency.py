"""Eight clients at once, each with its own points, while collections come and go: nothing is mixed up."""

from concurrent.futures import ThreadPoolExecutor
from random import Random

from qdrant_client import QdrantClient, models

THREADS = 8
STEPS = 40


def test_mixed_operations_of_eight_threads(url: str, client: QdrantClient, name: str) -> None:
    client.create_collection(
        name, vectors_config={"d": models.VectorParams(size=8, distance=models.Distance.DOT)}
    )
    with ThreadPoolExecutor(THREADS) as pool:
        expected = list(pool.map(lambda worker: work(url, name, worker), range(THREADS)))
    merged = {i: n for of_worker in expected for i, n in of_worker.items()}
    records, _ = client.scroll(name, limit=100_000, with_vectors=True)
    assert {r.id: r.payload and r.payload["n"] for r in records} == merged
    for record in records:
        assert record.payload is not None
        assert record.vector == {"d": [float(record.payload["n"])] * 8}
    assert client.count(name).count == len(merged)


def work(url: str, name: str, worker: int) -> dict[int, int]:
    """STEPS operations on ids of this worker's own; returns what must be stored then."""
    random = Random(worker)
    mine: dict[int, int] = {}
    client = QdrantClient(url=url, timeout=30, check_compatibility=False)
    for step in range(STEPS):
        kind = random.choice(("upsert", "upsert", "batch", "delete", "query", "scroll", "collection"))
        if kind in ("upsert", "batch"):
            ids = [worker * 10_000 + random.randrange(500) for _ in range(1 if kind == "upsert" else 40)]
            client.upsert(name, [point(i, step) for i in ids])
            mine |= dict.fromkeys(ids, step)
        elif kind == "delete" and mine:
            gone = random.sample(sorted(mine), min(5, len(mine)))
            client.delete(name, models.PointIdsList(points=list(gone)))
            for i in gone:
                del mine[i]
        elif kind == "query":
            assert len(client.query_points(name, query=[1.0] * 8, using="d", limit=5).points) <= 5
        elif kind == "scroll":
            own = models.Filter(must=[models.HasIdCondition(has_id=list(mine))])
            assert {r.id for r in client.scroll(name, scroll_filter=own, limit=1000)[0]} == set(mine)
        elif kind == "collection":
            come_and_go(client, f"{name}-{worker}")
    client.close()
    return mine


def point(i: int, n: int) -> models.PointStruct:
    """Point i in version n; the vector repeats the payload."""
    return models.PointStruct(id=i, vector={"d": [float(n)] * 8}, payload={"n": n})


def come_and_go(client: QdrantClient, name: str) -> None:
    """A collection's whole life."""
    client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    client.upsert(name, [models.PointStruct(id=1, vector=[1.0, 2.0])])
    assert client.count(name).count == 1
    assert client.delete_collection(name)
