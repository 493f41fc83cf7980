"""K6Load with real containers against the stub server: chunks abut, nothing is silent, nothing is left."""

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import docker
import pytest
from docker.models.containers import Container

from lab.host.labels import STACK, owned
from lab.load.chunks import K6Load
from lab.load.containers import ROLE, ROLE_VALUE, K6Containers, keep_log
from lab.load.inputs import LoadInputs, Text
from lab.model.journal import Event
from lab.model.load import ConstantArrivalRate
from lab.model.samples import Layer, Request
from lab.observe.clock import RunClock
from tests.contract import stub_mcp
from tests.contract.test_k6_client import OPERATIONS, profile

pytestmark = pytest.mark.docker
CHUNK_S, RATE_PER_S, FIRST_LEAD_S, LEAD_S = 3.0, 4.0, 3.0, 5.0
NORMAL = profile(RATE_PER_S, CHUNK_S, 1000)
FASTER = replace(NORMAL, name="faster", schedule=ConstantArrivalRate(10.0), mix={"search": 1})

LONG = replace(NORMAL, name="long", chunk_s=10.0)


class Recorded:
    """A recorder that keeps events, a sink that keeps rows."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.rows: list[Any] = []
        self.came_s: list[float] = []

    def record(self, kind: str, *, durable: bool = False, **data: Any) -> Event:
        self.events.append((kind, data))
        return Event(len(self.events), "test", 0.0, "", kind, data)

    def add(self, rows: Iterable[Any]) -> None:
        self.rows += rows
        self.came_s += [time.monotonic()] * (len(self.rows) - len(self.came_s))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [data for name, data in self.events if name == kind]


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    """The engine."""
    engine = docker.from_env()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def image(client: docker.DockerClient) -> str:
    """A k6 image: LAB_K6_IMAGE, else one that the lab built or took before."""
    if named := os.environ.get("LAB_K6_IMAGE"):
        return named
    for repository in ("lab.local/k6", "grafana/k6"):
        for found in client.images.list(name=repository):
            if found.tags:
                return str(found.tags[0])
    pytest.skip("missing capability: a k6 image (set LAB_K6_IMAGE, or `lab up` once)")


@pytest.fixture(scope="module")
def stub() -> Iterator[stub_mcp.StubMcp]:
    """The stub server; containers reach it on the host's own network."""
    with stub_mcp.running() as server:
        yield server


@pytest.fixture
def project(client: docker.DockerClient) -> Iterator[str]:
    """A stack name of the test's own; what the test leaves is an error and is removed."""
    name = f"k6-test-{uuid4().hex[:8]}"
    yield name
    left = containers_of(client, name)
    for container in left:
        container.remove(force=True)
    assert not left, "containers were left behind"


def containers_of(client: docker.DockerClient, project: str) -> list[Container]:
    """All containers of a stack."""
    return list(client.containers.list(all=True, filters={"label": f"{STACK}={project}"}))


def inputs(stub: stub_mcp.StubMcp, mode: str = "ok_sse") -> LoadInputs:
    """Four requests a second in chunks of three seconds."""
    return LoadInputs(
        run_id="run-1",
        seed=7,
        endpoint=f"/{mode}/mcp",
        protocol_version="2025-06-18",
        profiles=(NORMAL, FASTER, LONG),
        operations=OPERATIONS,
        values={"truth_collection": "truth", "writes_collection": "writes", "k": 10},
        queries=(Text("q1", "one"),),
        documents=(Text("d1", "two"),),
        base_url=stub.url,
    )


def k6_load(
    client: docker.DockerClient, image: str, project: str, folder: Path, recorded: Recorded, load: LoadInputs
) -> K6Load:
    """The generator on the host's network; its folder has a space and a comma in its name."""
    directory = folder / "a run, 1" / "load"
    directory.mkdir(parents=True)
    return K6Load(
        client=client,
        image=image,
        project=project,
        directory=directory,
        recorder=recorded,
        sink=recorded,
        clock=RunClock(),
        inputs=load,
        network="host",
    )


def wait(seconds: float) -> None:
    """Let the load go on."""
    threading.Event().wait(seconds)


def test_chunks_abut_and_stop_is_clean(
    client: docker.DockerClient, image: str, project: str, stub: stub_mcp.StubMcp, tmp_path: Path
) -> None:
    recorded = Recorded()
    load = k6_load(client, image, project, tmp_path, recorded, inputs(stub))
    load.start(NORMAL)
    wait(FIRST_LEAD_S + 2 * CHUNK_S + 0.8)
    load.stop()
    rows: list[Request] = sorted(recorded.rows, key=lambda row: row.scheduled_ms)
    assert load.died() == []
    assert len(rows) in range(26, 30), "two chunks of twelve and what was due before the stop"
    assert {round(b.scheduled_ms - a.scheduled_ms, 3) for a, b in pairwise(rows)} == {250.0}
    assert {row.source for row in rows} == {"0000", "0001", "0002"}
    assert {row.layer for row in rows} == {Layer.OK}
    begun, ended = recorded.of("load_chunk_started"), recorded.of("load_chunk_ended")
    assert (
        [event["chunk"] for event in begun] == [event["chunk"] for event in ended] == ["0000", "0001", "0002"]
    )
    starts = [event["scheduled_start_ms"] for event in begun]
    assert {round(b - a, 2) for a, b in pairwise(starts)} == {3000.0}
    assert sum(event["rows"] for event in ended) == len(rows)
    assert ended[-1]["after_stop"] > 0
    assert not any(event["missing"] or event["truncated"] or event["lost"] for event in ended)
    assert stub.seen["ok_sse", "initialize"] == stub.seen["ok_sse", "DELETE"]
    load.stop()


def test_rows_arrive_while_the_chunk_runs_and_its_points_are_kept(
    client: docker.DockerClient, image: str, project: str, stub: stub_mcp.StubMcp, tmp_path: Path
) -> None:
    recorded = Recorded()
    load = k6_load(client, image, project, tmp_path, recorded, inputs(stub))
    began_s = time.monotonic()
    load.start(LONG)
    wait(FIRST_LEAD_S + 6.0)
    during = list(recorded.rows)
    assert len(during) >= 4 * 3, "all but those of the last seconds"
    assert not recorded.of("load_chunk_ended")
    lags_s = [
        came_s - began_s - row.done_ms / 1000 for row, came_s in zip(during, recorded.came_s, strict=False)
    ]
    assert max(lags_s) < 3.0, "about two seconds after the answer"
    load.stop()
    assert load.died() == []
    assert len(set(recorded.rows)) == len(recorded.rows), "no row twice"
    folder = tmp_path / "a run, 1" / "load"
    assert {"".join(path.suffixes) for path in folder.glob("points-*")} == {".json.gz"}


def test_what_is_not_answered_when_the_load_ends_has_its_whole_time(
    client: docker.DockerClient, image: str, project: str, stub: stub_mcp.StubMcp, tmp_path: Path
) -> None:
    recorded = Recorded()
    load = k6_load(client, image, project, tmp_path, recorded, inputs(stub, "hang"))
    load.start(LONG)
    wait(FIRST_LEAD_S + 2.1)
    load.stop()
    rows = sorted(recorded.rows, key=lambda row: row.scheduled_ms)
    assert load.died() == []
    assert len(rows) in range(8, 12)
    assert {row.layer for row in rows} == {Layer.TRANSPORT}, (
        "given up by themselves, and not by the end of k6"
    )
    (ended,) = recorded.of("load_chunk_ended")
    assert (ended["missing"], ended["truncated"]) == (0, False)
    assert ended["after_stop"] > 0


def test_another_load_takes_over_without_a_gap_and_none_is_silence(
    client: docker.DockerClient, image: str, project: str, stub: stub_mcp.StubMcp, tmp_path: Path
) -> None:
    recorded = Recorded()
    load = k6_load(client, image, project, tmp_path, recorded, inputs(stub))
    load.start(NORMAL)
    wait(FIRST_LEAD_S + 1.0)
    begins_ms = load.change_to(FASTER)
    assert load.change_to(FASTER) <= begins_ms, "the same load goes on"
    wait(LEAD_S + 2.5)
    ends_ms = load.change_to(None)
    wait(2.0)
    load.stop()
    rows = sorted(recorded.rows, key=lambda row: row.scheduled_ms)
    before = [row for row in rows if row.scheduled_ms < begins_ms]
    after = [row for row in rows if row.scheduled_ms >= begins_ms]
    assert load.died() == []
    assert {row.layer for row in rows} == {Layer.OK}
    assert {round(b.scheduled_ms - a.scheduled_ms, 3) for a, b in pairwise(before)} == {250.0}
    assert {round(b.scheduled_ms - a.scheduled_ms, 3) for a, b in pairwise(after)} == {100.0}
    assert 0 <= after[0].scheduled_ms - before[-1].scheduled_ms <= 251.0
    assert after[0].scheduled_ms == begins_ms
    assert ends_ms - 101.0 <= rows[-1].scheduled_ms < ends_ms
    assert {row.op for row in after} == {"search"}
    assert len({row.id for row in rows}) == len(rows)
    names = [(event["chunk"], event["profile"]) for event in recorded.of("load_chunk_started")]
    assert sorted(names)[0] == ("0000", "normal")
    assert sorted(names)[-1][1] == "faster"
    assert not any(event["missing"] or event["truncated"] for event in recorded.of("load_chunk_ended"))


def test_a_dead_server_is_all_transport_failures_with_their_words_kept(
    client: docker.DockerClient, image: str, project: str, stub: stub_mcp.StubMcp, tmp_path: Path
) -> None:
    recorded = Recorded()
    load = k6_load(client, image, project, tmp_path, recorded, inputs(stub, "closed"))
    load.start(NORMAL)
    wait(FIRST_LEAD_S + 1.2)
    load.stop()
    assert load.died() == [], "the target's death is not the generator's"
    assert recorded.rows
    assert {(row.layer, row.message) for row in recorded.rows} == {(Layer.TRANSPORT, "1000 EOF")}
    kept = (tmp_path / "a run, 1" / "load" / "failures-0000.jsonl").read_text(encoding="utf-8").splitlines()
    kinds = [(json.loads(line)["op"], json.loads(line)["message"]) for line in kept]
    assert 1 <= kinds.count(("search", "1000 EOF")) <= 3


def test_a_killed_generator_is_said_and_the_next_chunk_goes_on(
    client: docker.DockerClient, image: str, project: str, stub: stub_mcp.StubMcp, tmp_path: Path
) -> None:
    recorded = Recorded()
    load = k6_load(client, image, project, tmp_path, recorded, inputs(stub))
    load.start(NORMAL)
    wait(FIRST_LEAD_S + 1.5)
    (first,) = [c for c in containers_of(client, project) if str(c.name).endswith("-0000")]
    first.kill(signal="SIGKILL")
    wait(CHUNK_S)
    load.stop()
    assert any("0000" in why and "early" in why for _, why in load.died())
    assert any("left no trace" in why for _, why in load.died())
    (ended,) = [event for event in recorded.of("load_chunk_ended") if event["chunk"] == "0000"]
    assert ended["truncated"]
    assert (ended["exit_code"], ended["missing"] + ended["rows"]) == (137, 12)
    assert {row.source for row in recorded.rows if row.ok} >= {"0001"}


def test_no_image_is_said_and_gives_no_rows(
    client: docker.DockerClient, project: str, stub: stub_mcp.StubMcp, tmp_path: Path
) -> None:
    recorded = Recorded()
    load = k6_load(client, "lab.local/k6:absent", project, tmp_path, recorded, inputs(stub))
    load.start(NORMAL)
    wait(1.0)
    load.stop()
    assert recorded.rows == []
    assert "could not be started" in load.died()[0][1]
    (ended,) = recorded.of("load_chunk_ended")
    assert (ended["rows"], ended["exit_code"], ended["missing"]) == (0, None, 12)


def test_a_network_that_is_not_there_leaves_no_container(
    client: docker.DockerClient, image: str, project: str, stub: stub_mcp.StubMcp, tmp_path: Path
) -> None:
    recorded = Recorded()
    directory = tmp_path / "run" / "load"
    directory.mkdir(parents=True)
    load = K6Load(
        client=client,
        image=image,
        project=project,
        directory=directory,
        recorder=recorded,
        sink=recorded,
        clock=RunClock(),
        inputs=inputs(stub),
    )
    load.start(NORMAL)
    wait(2.0)
    load.stop()
    assert "could not be started" in load.died()[0][1]


def test_a_stop_before_the_first_request_takes_the_chunk_back(
    client: docker.DockerClient, image: str, project: str, stub: stub_mcp.StubMcp, tmp_path: Path
) -> None:
    recorded = Recorded()
    load = k6_load(client, image, project, tmp_path, recorded, inputs(stub, "stateless"))
    load.start(NORMAL)
    wait(1.5)
    load.stop()
    assert recorded.rows == []
    assert recorded.events == []
    assert load.died() == []
    assert stub.seen["stateless", "tools/call"] == 0


def test_what_a_dead_run_left_is_removed(
    client: docker.DockerClient, image: str, project: str, tmp_path: Path
) -> None:
    labels = {**owned(project), ROLE: ROLE_VALUE}
    client.containers.create(image, command=["version"], labels=labels)
    containers = K6Containers(client, image, project, "host", tmp_path)
    assert containers.remove_leftovers() == 1
    assert containers.remove_leftovers() == 0


def test_at_most_three_bodies_of_a_kind_are_kept(tmp_path: Path) -> None:
    class Logged:
        """Only a container's log."""

        def logs(self) -> bytes:
            failure = {"op": "search", "layer": "payload", "message": "nothing", "body": "…"}
            line = {"level": "error", "msg": json.dumps({"lab_failure": failure})}
            other = {"level": "error", "msg": "panic"}
            return "\n".join([json.dumps(line)] * 7 + [json.dumps(other), "not JSON"]).encode()

    errors = keep_log(Logged(), tmp_path, "0002")  # type: ignore[arg-type]
    assert errors == ["panic", "not JSON"]
    kept = (tmp_path / "failures-0002.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["chunk"] for line in kept] == ["0002"] * 3
