"""SIGKILL under writing load, again and again, and a judgement after each restart.

Four writers, each with points of its own (single and batch upserts, overwrites, deletes by id and by filter),
and one that creates, changes and deletes collections. The optimizer's threshold is low, so that kills also
hit its copies and changeovers.
"""

import contextlib
import json
from dataclasses import dataclass, field
from random import Random
from threading import Event, Thread
from time import monotonic
from typing import Any

import httpx
from edge_process import EdgeProcess
from kill_ledger import ABSENT, DIMENSION, Ledger, Violation, payload_of, vector_of

MAIN = "main"
WRITERS = 4
IDS_PER_WRITER = 10**9
# Small ranges of ids, so that points are often overwritten and deleted, and verification stays short.
IDS_USED = 400
# Most kills come at a random moment; one in four soon after the optimizer has changed over to another shard.
RUN_S, CHANGEOVER_SHARE, AFTER_CHANGEOVER_S, CHANGEOVER_TIMEOUT_S = (0.1, 1.0), 0.25, (0.0, 0.1), 6.0
REQUEST_TIMEOUT_S = 20.0


@dataclass(slots=True)
class KillReport:
    """What a series of kills showed; `while_optimizing` counts kills that left an unfinished copy behind."""

    kills: int = 0
    acknowledged: int = 0
    changeovers: int = 0
    while_optimizing: int = 0
    violations: list[Violation] = field(default_factory=list)


def run_kills(server: EdgeProcess, *, seed: int, kills: int) -> KillReport:
    """Start the server, then kill it under load and judge, `kills` times; all randomness comes from the seed.

    Raises RuntimeError when the server does not come back, AssertionError when it refuses a good request.
    """
    random, ledger, report = Random(seed), Ledger(), KillReport()
    server.start()
    _create_main(server, ledger)
    before = _in_charge(server)
    for _ in range(kills):
        _load_and_kill(server, ledger, random)
        report.while_optimizing += len(_shards(server)) > 1
        server.start()
        report.kills += 1
        report.changeovers += _in_charge(server) != before
        before = _in_charge(server)
        report.violations += _judge(server, ledger)
    report.acknowledged = ledger.acknowledged
    server.kill()
    return report


def _shards(server: EdgeProcess) -> set[str]:
    """The generations of the main collection on disk: one, and its successor while the optimizer runs."""
    return {path.name for path in server.storage.glob(f"collections/{MAIN}/gen-*")}


def _create_main(server: EdgeProcess, ledger: Ledger) -> None:
    body = {
        "vectors": {"d": {"size": DIMENSION, "distance": "Dot"}},
        "sparse_vectors": {"s": {}},
        # 640 points: the optimizer runs often.
        "optimizers_config": {
            "indexing_threshold": 40,
            "vacuum_min_vector_number": 100,
            "memmap_threshold": 0,
        },
    }
    answer = httpx.put(f"{server.url}/collections/{MAIN}", json=body, timeout=REQUEST_TIMEOUT_S)
    assert answer.status_code == 200, answer.text
    ledger.acknowledge_collection(MAIN, 0)
    index = {"field_name": "writer", "field_schema": "integer"}
    httpx.put(f"{server.url}/collections/{MAIN}/index", json=index, timeout=REQUEST_TIMEOUT_S)


def _load_and_kill(server: EdgeProcess, ledger: Ledger, random: Random) -> None:
    """All writers at work for a random while, then SIGKILL in the midst of it."""
    stop = Event()
    seeds = [random.getrandbits(32) for _ in range(WRITERS + 1)]
    workers: list[_Worker] = [_PointWriter(server.url, ledger, seeds[i], stop, i) for i in range(WRITERS)]
    workers.append(_CollectionWriter(server.url, ledger, seeds[-1], stop))
    for worker in workers:
        worker.thread.start()
    if random.random() < CHANGEOVER_SHARE:
        _await_changeover(server)
        Event().wait(random.uniform(*AFTER_CHANGEOVER_S))
    else:
        Event().wait(random.uniform(*RUN_S))
    server.kill()
    stop.set()
    for worker in workers:
        worker.thread.join(timeout=REQUEST_TIMEOUT_S + 5)
        assert not worker.thread.is_alive(), "a writer did not end"
        assert worker.refused is None, worker.refused


def _await_changeover(server: EdgeProcess) -> None:
    """Wait a while until another shard is in charge: on a busy machine the optimizer may not get so far."""
    before, deadline = _in_charge(server), monotonic() + CHANGEOVER_TIMEOUT_S
    while _in_charge(server) == before and monotonic() < deadline:
        Event().wait(0.005)


def _in_charge(server: EdgeProcess) -> str:
    """The shard that the main collection's metadata names."""
    meta = json.loads((server.storage / "collections" / MAIN / "collection.json").read_text())
    return str(meta["generation"])


class _Worker:
    """Writes until stopped or until the connection breaks; `refused` is the first answer that is not 200."""

    def __init__(self, url: str, ledger: Ledger, seed: int, stop: Event) -> None:
        self.thread = Thread(target=self.run, daemon=True)
        self.refused: str | None = None
        self.random = Random(seed)
        self.ledger = ledger
        self._url = url
        self._stopped = stop

    def run(self) -> None:
        """Step after step; a broken connection is the kill."""
        with (
            contextlib.suppress(httpx.TransportError),
            httpx.Client(base_url=self._url, timeout=REQUEST_TIMEOUT_S) as self.http,
        ):
            while not self._stopped.is_set() and self.refused is None:
                self.step()

    def step(self) -> None:
        """One request."""
        raise NotImplementedError

    def send(self, method: str, path: str, body: Any = None) -> bool:
        """Whether the answer was 200."""
        answer = self.http.request(method, f"/collections/{path}", json=body)
        if answer.status_code != 200:
            self.refused = f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.status_code == 200


class _PointWriter(_Worker):
    """One writer with ids of its own."""

    def __init__(self, url: str, ledger: Ledger, seed: int, stop: Event, number: int) -> None:
        super().__init__(url, ledger, seed, stop)
        self._number = number
        self._version = self.random.randrange(10**6) * 1000

    def step(self) -> None:
        kind = self.random.choices(("upsert", "batch", "delete", "filter"), (10, 4, 3, 0.3))[0]
        if kind in ("upsert", "batch"):
            self._upsert(1 if kind == "upsert" else self.random.choice((8, 64, 200)))
        elif kind == "delete":
            self._delete(self.random.randint(1, 5))
        else:
            self._delete_all()

    def _upsert(self, count: int) -> None:
        self._version += 1
        first = self._number * IDS_PER_WRITER
        ids = [first + i for i in self.random.sample(range(IDS_USED), count)]
        points = [
            {
                "id": i,
                "vector": vector_of(i, self._version),
                "payload": payload_of(i, self._version, self._number),
            }
            for i in ids
        ]
        self._write(dict.fromkeys(ids, self._version), "PUT", "points", {"points": points})

    def _delete(self, count: int) -> None:
        present = self.ledger.present(self._number, IDS_PER_WRITER)
        ids = self.random.sample(present, min(count, len(present)))
        if ids:
            self._write(dict.fromkeys(ids, ABSENT), "POST", "points/delete", {"points": ids})

    def _delete_all(self) -> None:
        ids = self.ledger.present(self._number, IDS_PER_WRITER)
        wanted = {"must": [{"key": "writer", "match": {"value": self._number}}]}
        self._write(dict.fromkeys(ids, ABSENT), "POST", "points/delete", {"filter": wanted})

    def _write(self, versions: dict[int, int], method: str, path: str, body: Any) -> None:
        self.ledger.ask(versions)
        if self.send(method, f"{MAIN}/{path}?wait=true", body):
            self.ledger.acknowledge(versions)


class _CollectionWriter(_Worker):
    """Changes the main collection's configuration, and lets others come and go."""

    def step(self) -> None:
        if self.random.random() < 0.5:
            self._change(MAIN, self.random.randrange(1, 10**6))
        else:
            self._come_or_go(f"side-{self.random.randrange(6)}")
        Event().wait(0.02)

    def _change(self, name: str, version: int) -> None:
        """The version is kept in a setting that changes nothing else."""
        body = {"optimizers_config": {"memmap_threshold": version}}
        self._commit(name, version, "PATCH", body)

    def _come_or_go(self, name: str) -> None:
        answer = self.http.get(f"/collections/{name}/exists").json()
        if answer["result"]["exists"]:
            self._commit(name, ABSENT, "DELETE", None)
        else:
            body = {"vectors": {"size": 4, "distance": "Dot"}, "optimizers_config": {"memmap_threshold": 7}}
            self._commit(name, 7, "PUT", body)

    def _commit(self, name: str, version: int, method: str, body: Any) -> None:
        self.ledger.ask_collection(name, version)
        if self.send(method, name, body):
            self.ledger.acknowledge_collection(name, version)


def _judge(server: EdgeProcess, ledger: Ledger) -> list[Violation]:
    """Read everything back and compare."""
    with httpx.Client(base_url=server.url, timeout=REQUEST_TIMEOUT_S) as http:
        names = [c["name"] for c in http.get("/collections").json()["result"]["collections"]]
        versions = {}
        for name in names:
            config = http.get(f"/collections/{name}").json()["result"]["config"]
            versions[name] = int(config["optimizer_config"]["memmap_threshold"])
        body = {"limit": 10**6, "with_payload": True, "with_vector": True}
        answer = http.post(f"/collections/{MAIN}/points/scroll", json=body)
        assert answer.status_code == 200, answer.text
        points = answer.json()["result"]["points"]
    return ledger.judge_collections(versions) + ledger.judge_points(points)
