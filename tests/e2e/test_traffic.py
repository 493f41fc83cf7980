"""A target that goes around the proxy, on containers: found in seconds before a run, and never passed by one."""

import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from lab.errors import ScenarioError
from lab.host.containers import DockerContainers
from lab.host.network.target_traffic import HostTraffic
from lab.host.world import world_of
from lab.model.samples import PAST, STORE, Traffic
from lab.observe.clock import RunClock
from lab.ports import World
from lab.provision.stack import stack
from lab.run import preparation
from lab.run.preflight import require_own_traffic
from tests.e2e.soaking import finding, plan_of, soak_on
from tests.e2e.stacks import REFERENCE, ephemeral_stack, images, reference_target

pytestmark = pytest.mark.docker

AROUND = "http://qdrant:6333"
PREFLIGHT_S = 15.0


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.StackSpec]:
    """A stack whose target's own variable leads to the store itself."""
    folder = reference_target(tmp_path_factory.mktemp("around"), QDRANT_URL=AROUND)
    with ephemeral_stack(images(folder), target=folder) as spec:
        yield spec


def test_the_preflight_names_the_address_that_the_target_used(
    client: docker.DockerClient, around: stack.StackSpec
) -> None:
    began = time.monotonic()
    with pytest.raises(ScenarioError) as found:
        require_own_traffic(client, around, plan_of("around.yaml", target=around.target_dir))
    assert time.monotonic() - began < PREFLIGHT_S
    text = str(found.value)
    assert ":6333" in text and str(around.target_dir / "target.yaml") in text and "toxiproxy:6333" in text


def test_a_run_that_is_made_all_the_same_cannot_pass(
    client: docker.DockerClient, around: stack.StackSpec, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, it passed: the link was down on the lab's own sockets, and the target recovered in 0.00 s."""
    monkeypatch.setattr(preparation, "require_own_traffic", lambda *_: None)
    report = soak_on(client, around, plan_of("around.yaml", target=around.target_dir), runs).report
    assert report["gate"] == report["verdict"] == "inconclusive"
    for check, subject in (("traffic", "steady"), ("in_force", "f1-link_down"), ("recovery", "f1-link_down")):
        found = finding(report, check, subject)
        assert found["verdict"] == "inconclusive" and "past the proxy" in found["reason"], found
    assert not [found for found in report["findings"] if found["verdict"] == "fail"]


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.StackSpec]:
    """A stack with the reference target as it is."""
    with ephemeral_stack(images(REFERENCE), target=REFERENCE) as spec:
        yield spec


def test_faults_of_links_and_networks_reach_the_targets_own_traffic(
    client: docker.DockerClient, through: stack.StackSpec, runs: Path
) -> None:
    """The control: nothing that is proven is voided."""
    report = soak_on(client, through, plan_of("links.yaml", target=REFERENCE), runs).report
    assert finding(report, "traffic", "steady")["verdict"] == "pass"
    in_force = [found for found in report["findings"] if found["check"] == "in_force"]
    assert [found["verdict"] for found in in_force] == ["pass"] * 4, [found["reason"] for found in in_force]


def test_a_reading_is_cheap(client: docker.DockerClient, through: stack.StackSpec) -> None:
    """It is made every two seconds beside a server that is measured."""
    traffic = HostTraffic(through.topology, DockerContainers(client, through.project), RunClock())
    traffic.read()
    began = time.process_time()
    for _ in range(20):
        rows = traffic.read()
    assert {row.route for row in rows} >= {STORE} and PAST not in {row.route for row in rows}
    assert (time.process_time() - began) / 20 < 0.05


# A client of gRPC's port: it keeps one connection, on which it says something ten times a second, and connects anew.
GRPC_CLIENT = """
import socket, sys, time
def connect():
    while True:
        try:
            return socket.create_connection(("toxiproxy", 6334), 1)
        except OSError:
            time.sleep(0.1)
while True:
    with connect() as kept:
        try:
            while True:
                kept.sendall(b"ping" * 50)
                kept.recv(4096)
                time.sleep(0.1)
        except OSError:
            pass
"""
# It echoes, in place of a gRPC server, which the store of the tests has not.
GRPC_SERVER = """
import socket, threading
def serve(taken):
    with taken:
        while data := taken.recv(4096):
            taken.sendall(data)
listener = socket.create_server(("0.0.0.0", 6334))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def test_a_fault_of_the_stores_link_hits_grpc_too(
    client: docker.DockerClient, through: stack.StackSpec
) -> None:
    world = world_of(client, through.topology, RunClock())
    for service, script in (("qdrant-net", GRPC_SERVER), ("mcp", GRPC_CLIENT)):
        container = client.containers.get(f"{through.project}-{service}-1")
        container.exec_run(["python3", "-c", script], detach=True)

    def received_per_s() -> float:
        first = _grpc(world)
        time.sleep(1.5)
        last = _grpc(world)
        assert last.received_bytes >= first.received_bytes
        return (last.received_bytes - first.received_bytes) / (last.at_ms - first.at_ms) * 1000

    _grpc(world)
    end = time.monotonic() + 10
    while received_per_s() < 1000 and time.monotonic() < end:
        pass
    assert received_per_s() > 1000
    world.proxies.disable("qdrant")
    assert received_per_s() < 100, "the link is down, and its gRPC goes on"
    world.proxies.enable("qdrant")
    world.proxies.add_toxic(
        "qdrant", name="lab-t", kind="timeout", stream="downstream", attributes={"timeout": 0}
    )
    time.sleep(0.5)
    assert received_per_s() < 100, "the toxic is not on gRPC"
    world.proxies.remove_toxic("qdrant", name="lab-t")
    time.sleep(1.5)
    assert received_per_s() > 1000 and world.proxies.toxics("qdrant") == []


def _grpc(world: World) -> Traffic:
    return next(row for row in world.traffic.read() if row.peer == "qdrant_grpc")
