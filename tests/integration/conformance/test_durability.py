"""Restarts, loading, optimizing, a full disk: the embedded-engine server's own promises."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import httpx
import numpy as np
import pytest
from edge_process import IMAGE_FOLDER, EdgeProcess
from qdrant_client import QdrantClient, models

DENSE = models.VectorParams(size=64, distance=models.Distance.DOT)
ROWS = np.random.default_rng(3).normal(size=(4000, 64))
WAIT_S = 60.0


@pytest.fixture
def own(edge: EdgeProcess) -> Iterator[QdrantClient]:
    """A client of the server of one's own; it outlasts restarts."""
    client = QdrantClient(url=edge.url, timeout=30)
    yield client
    client.close()


def fill(client: QdrantClient, name: str, rows: range) -> None:
    """Upsert rows of ROWS in batches."""
    for first in range(rows.start, rows.stop, 200):
        ids = range(first, min(first + 200, rows.stop))
        client.upsert(
            name, [models.PointStruct(id=i, vector=ROWS[i].tolist(), payload={"n": i}) for i in ids]
        )


def until_status(client: QdrantClient, name: str, wanted: str) -> models.CollectionInfo:
    """Wait for a collection status; fails with the last one seen."""
    deadline = monotonic() + WAIT_S
    while (info := client.get_collection(name)).status != wanted:
        assert monotonic() < deadline, f"status still {info.status}, wanted {wanted}"
        Event().wait(0.05)
    return info


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_everything_is_there_after_a_restart(edge: EdgeProcess, own: QdrantClient, how: str) -> None:
    own.create_collection(
        "kept",
        vectors_config={"d": DENSE},
        sparse_vectors_config={"s": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    own.create_collection("gone", vectors_config=DENSE)
    own.update_collection("kept", hnsw_config=models.HnswConfigDiff(m=23))
    own.create_payload_index("kept", "n", field_schema="integer")
    sparse = models.SparseVector(indices=[1], values=[2.0])
    own.upsert(
        "kept",
        [
            models.PointStruct(id=i, vector={"d": ROWS[i].tolist(), "s": sparse}, payload={"n": i})
            for i in range(50)
        ],
    )
    own.delete("kept", models.PointIdsList(points=[7]))
    own.delete_collection("gone")
    before = state(own)
    if how == "SIGTERM":
        assert edge.stop() == 0
    else:
        edge.kill()
    edge.start()
    assert state(own) == before
    assert [c.name for c in own.get_collections().collections] == ["kept"]
    assert own.count("kept").count == 49
    assert edge.log == ""


def state(client: QdrantClient) -> Any:
    """All that must be the same after a restart; `indexed_vectors_count` is approximate in Qdrant."""
    info = client.get_collection("kept")
    return (
        info.config,
        info.payload_schema,
        info.points_count,
        client.scroll("kept", limit=100, with_vectors=True),
    )


def test_what_a_kill_left_half_made_is_removed(edge: EdgeProcess, own: QdrantClient) -> None:
    own.create_collection("whole", vectors_config=DENSE)
    edge.kill()
    (edge.storage / "collections" / "half" / "gen-1").mkdir(parents=True)
    (edge.storage / "collections" / "whole" / "gen-unfinished").mkdir()
    edge.start()
    assert [c.name for c in own.get_collections().collections] == ["whole"]
    assert not list(edge.storage.glob("collections/half"))
    assert not list(edge.storage.glob("collections/whole/gen-unfinished"))
    own.create_collection("half", vectors_config=DENSE)


def test_a_collection_that_cannot_be_loaded_stops_the_server(edge: EdgeProcess, own: QdrantClient) -> None:
    own.create_collection("broken", vectors_config=DENSE)
    edge.kill()
    (edge.storage / "collections" / "broken" / "collection.json").write_text("{")
    edge.spawn()
    assert edge.wait() == 1
    assert str(edge.storage / "collections" / "broken") in edge.log
    assert len(edge.log.splitlines()) == 1


def test_settings_without_effect_are_refused(tmp_path: Path, own_process: None) -> None:
    environment = os.environ | {"PYTHONPATH": str(IMAGE_FOLDER), "QDRANT__SERVICE__API_KEY": "x"}
    command = [sys.executable, "-m", "edge_server", "--storage", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "QDRANT__SERVICE__API_KEY" in done.stderr


def test_a_taken_port_stops_the_server(edge: EdgeProcess, tmp_path: Path) -> None:
    second = EdgeProcess(tmp_path / "second")
    second.port = edge.port
    second.spawn()
    assert second.wait() != 0


def test_optimizing_is_told_truly_and_does_not_stop_anything(edge: EdgeProcess, own: QdrantClient) -> None:
    own.create_collection(
        "c",
        vectors_config=DENSE,
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=400, default_segment_number=1),
    )
    fill(own, "c", range(1500))
    assert own.get_collection("c").indexed_vectors_count == 0
    assert own.get_collection("c").status == models.CollectionStatus.GREEN
    fill(own, "c", range(1500, 3000))
    seen = {own.get_collection("c").status}
    fill(own, "c", range(3000, 3600))
    own.delete("c", models.PointIdsList(points=[0, 3100]))
    seen.add(own.get_collection("c").status)
    assert models.CollectionStatus.YELLOW in seen
    assert (until_status(own, "c", "green").indexed_vectors_count or 0) >= 1600
    present = [i for i in range(3600) if i not in (0, 3100)]
    check_whole(own, present)
    edge.kill()
    edge.start()
    check_whole(own, present)
    assert len(list((edge.storage / "collections" / "c").glob("gen-*"))) == 1


def check_whole(client: QdrantClient, present: list[int]) -> None:
    """Every point is there with its vector, and an exact search finds the true neighbours."""
    records, _ = client.scroll("c", limit=10000, with_vectors=True)
    assert [r.id for r in records] == present
    assert np.allclose(np.array([r.vector for r in records]), ROWS[present], atol=1e-5)
    scores = ROWS[present] @ ROWS[17]
    best = [present[i] for i in np.argsort(-scores)[:5]]
    exact = models.SearchParams(exact=True)
    assert [
        p.id for p in client.query_points("c", query=ROWS[17].tolist(), limit=5, search_params=exact).points
    ] == best


def test_work_that_nothing_triggered_is_grey(edge: EdgeProcess, own: QdrantClient) -> None:
    off = models.OptimizersConfigDiff(indexing_threshold=100, max_optimization_threads=0)
    own.create_collection("c", vectors_config=DENSE, optimizers_config=off)
    fill(own, "c", range(1000))
    assert own.get_collection("c").status == models.CollectionStatus.GREY
    edge.kill()
    edge.start()
    assert own.get_collection("c").status == models.CollectionStatus.GREY
    own.update_collection("c", optimizers_config=models.OptimizersConfigDiff(max_optimization_threads=1))
    assert until_status(own, "c", "green").indexed_vectors_count == 1000


def test_new_index_parameters_rebuild_the_index(edge: EdgeProcess, own: QdrantClient) -> None:
    own.create_collection(
        "c", vectors_config=DENSE, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=100)
    )
    fill(own, "c", range(1000))
    until_status(own, "c", "green")
    (built,) = (edge.storage / "collections" / "c").glob("gen-*")
    own.update_collection("c", hnsw_config=models.HnswConfigDiff(m=8))
    assert own.get_collection("c").status == models.CollectionStatus.YELLOW
    # The last points may be too few for an index of their own.
    assert (until_status(own, "c", "green").indexed_vectors_count or 0) >= 600
    assert not built.exists()


def test_a_failing_optimizer_is_red_and_loses_nothing(edge: EdgeProcess, own: QdrantClient) -> None:
    off = models.OptimizersConfigDiff(indexing_threshold=100, max_optimization_threads=0)
    own.create_collection("c", vectors_config=DENSE, optimizers_config=off)
    fill(own, "c", range(1000))
    (shard,) = (edge.storage / "collections" / "c").glob("gen-*")
    hidden = shard.rename(shard.with_name("hidden"))
    own.update_collection("c", optimizers_config=models.OptimizersConfigDiff(max_optimization_threads=1))
    info = until_status(own, "c", "red")
    assert isinstance(info.optimizer_status, models.OptimizersStatusOneOf1)
    hidden.rename(shard)
    assert own.count("c").count == 1000
    own.update_collection("c", optimizers_config=models.OptimizersConfigDiff(vacuum_min_vector_number=2000))
    assert until_status(own, "c", "green").indexed_vectors_count == 1000


def test_reads_are_answered_during_a_long_write(edge: EdgeProcess, own: QdrantClient) -> None:
    """In one of a few writes: a busy machine may keep this client from asking while one of about a second lasts."""
    points = [{"id": i, "vector": ROWS[i % 4000].tolist(), "payload": {"n": i}} for i in range(12000)]
    body = json.dumps({"points": points})

    async def run(name: str) -> int:
        async with httpx.AsyncClient(base_url=edge.url, timeout=60) as client:
            write = asyncio.create_task(
                client.put(f"/collections/{name}/points", params={"wait": "true"}, content=body)
            )
            counts: list[int] = []
            while not write.done():
                answer = await client.post(f"/collections/{name}/points/count", json={})
                counts.append(answer.json()["result"]["count"])
            assert write.result().status_code == 200
            return len({count for count in counts if 0 < count < 12000})

    seen: list[int] = []
    while len(seen) < 5 and max(seen, default=0) < 3:
        own.create_collection(f"c{len(seen)}", vectors_config=DENSE)
        seen.append(asyncio.run(run(f"c{len(seen)}")))
    assert max(seen) >= 3, seen


def ask(storage: Path, calls: list[tuple[str, str, Any]], load_after: int = 0) -> list[httpx.Response]:
    """Answers of an application in this process; collections are loaded before call `load_after`."""
    from edge_server.app import make_app
    from edge_server.registry import Registry

    async def run() -> list[httpx.Response]:
        registry = Registry(storage)
        transport = httpx.ASGITransport(app=make_app(registry))
        answers = []
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            for number, (method, path, body) in enumerate(calls):
                if number == load_after:
                    await registry.load()
                answers.append(await client.request(method, path, json=body))
        await registry.close()
        return answers

    return asyncio.run(run())


def test_nothing_but_health_is_served_before_the_collections_are_loaded(
    tmp_path: Path, own_process: None
) -> None:
    create = {"vectors": {"size": 2, "distance": "Dot"}}
    ask(tmp_path, [("PUT", "/collections/c", create)])
    before: list[tuple[str, str, Any]] = [
        ("GET", "/readyz", None),
        ("GET", "/collections", None),
        ("GET", "/collections/c", None),
    ]
    before += [("PUT", "/collections/c", create), ("DELETE", "/collections/c", None)]
    calls = [*before, ("GET", "/healthz", None), ("GET", "/", None), ("GET", "/metrics", None), *before[:3]]
    codes = [answer.status_code for answer in ask(tmp_path, calls, load_after=8)]
    assert codes == [503] * 5 + [200] * 6


def test_a_disk_without_room_refuses_writes_and_serves_reads(
    tmp_path: Path, own_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = {"points": [{"id": 1, "vector": [1.0, 2.0]}]}
    create = {"vectors": {"size": 2, "distance": "Dot"}}
    ask(tmp_path, [("PUT", "/collections/c", create), ("PUT", "/collections/c/points", point)])
    monkeypatch.setattr("edge_server.storage.FREE_BYTES_MIN", 2**62)
    calls = [("PUT", "/collections/c/points", point), ("POST", "/collections/c/points/count", {})]
    refused, counted, created = ask(tmp_path, [*calls, ("PUT", "/collections/d", create)])
    assert (refused.status_code, counted.json()["result"]["count"], created.status_code) == (500, 1, 500)
    assert "No space left on device" in refused.json()["status"]["error"]


def test_no_flush_while_the_optimizer_copies(tmp_path: Path, own_process: None) -> None:
    """The engine forgets log entries that it has flushed: a copy made halfway would lack them."""
    from edge_server.collection import Collection
    from edge_server.collection_config import parse_create
    from edge_server.handlers import upsert_operations
    from edge_server.vectors import parse_points

    async def run() -> None:
        config = parse_create(
            {"vectors": {"size": 1, "distance": "Dot"}, "optimizers_config": {"flush_interval_sec": 0}}
        )
        collection = await Collection.create(tmp_path / "c", config)
        points = list(parse_points({"points": [{"id": 1, "vector": [1.0]}]}, collection.schema))
        await collection.write(upsert_operations(points), upserts=1)
        async with collection.lock:
            flushing = asyncio.create_task(collection.flush_if_due())
            await asyncio.wait([flushing], timeout=0.5)
            assert not flushing.done()
        await asyncio.wait_for(flushing, 10)
        await collection.stop()
        collection.close()

    asyncio.run(run())
