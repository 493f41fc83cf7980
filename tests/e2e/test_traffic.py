"""A target that goes around the proxy, on containers: found in seconds before a run, and never passed by one."""

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
import typer

from lab.cli.exits import EXIT_LAB, EXIT_USAGE, guarded
from lab.host.containers import DockerContainers
from lab.host.labels import owned as owned_labels
from lab.host.network.target_traffic import HostTraffic
from lab.host.world import world_of
from lab.model.samples import PAST, STORE, Traffic
from lab.observe.clock import RunClock
from lab.ports import World
from lab.provision.stack import stack
from lab.provision.stack.kept_stores import KeptStores
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
    client: docker.DockerClient, around: stack.StackSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of("around.yaml", target=around.target_dir)
    began = time.monotonic()
    code, text = refused(lambda: require_own_traffic(client, around, plan), capsys)
    assert time.monotonic() - began < PREFLIGHT_S
    assert code == EXIT_USAGE
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
    kept = KeptStores().folder
    assert kept.name == "tests" and list(kept.glob("*/copy.json")), "the store was kept apart"


def test_a_reading_is_cheap(client: docker.DockerClient, through: stack.StackSpec) -> None:
    """It is made every two seconds beside a server that is measured."""
    traffic = traffic_of(client, through)
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
            return socket.create_connection((sys.argv[1], 6334), 1)
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
# It echoes, in place of a gRPC server, which the store of the tests has not. It takes connections of both families.
GRPC_SERVER = """
import socket, threading
def serve(taken):
    with taken:
        while data := taken.recv(4096):
            taken.sendall(data)
listener = socket.create_server(("::", 6334), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@contextmanager
def running(
    client: docker.DockerClient, spec: stack.StackSpec, service: str, script: str, *arguments: str
) -> Iterator[None]:
    """A script of Python that runs in a service's container meanwhile."""
    container = client.containers.get(f"{spec.project}-{service}-1")
    made = client.api.exec_create(container.id, ["python3", "-c", script, *arguments])
    client.api.exec_start(made["Id"], detach=True)
    try:
        yield
    finally:
        os.kill(client.api.exec_inspect(made["Id"])["Pid"], signal.SIGKILL)


@pytest.fixture(scope="module")
def grpc(client: docker.DockerClient, through: stack.StackSpec) -> Iterator[None]:
    """A server on gRPC's port of the store."""
    with running(client, through, "qdrant-net", GRPC_SERVER):
        yield


@pytest.fixture(scope="module")
def ipv6(client: docker.DockerClient, through: stack.StackSpec) -> Iterator[dict[str, str]]:
    """The global IPv6 addresses of target and store, in a network that somebody joined them to."""
    subnet = f"fd00:{secrets.token_hex(2)}:{secrets.token_hex(2)}::/64"
    network = client.networks.create(
        f"{through.project}-v6",
        labels=owned_labels(through.project),
        enable_ipv6=True,
        ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet)]),
    )
    holders = [client.containers.get(f"{through.project}-{name}-1") for name in ("mcp-net", "qdrant-net")]
    try:
        for holder in holders:
            network.connect(holder)
        network.reload()
        described = network.attrs["Containers"]
        yield {
            name: described[holder.id]["IPv6Address"].partition("/")[0]
            for name, holder in zip(("mcp", "qdrant"), holders, strict=True)
        }
    finally:
        for holder in holders:
            network.disconnect(holder, force=True)
        network.remove()


def refused(act: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of a command that does this, and what it says on stderr."""
    with pytest.raises(typer.Exit) as ended:
        guarded(act)()
    return ended.value.exit_code, capsys.readouterr().err


@pytest.mark.usefixtures("grpc")
@pytest.mark.parametrize("family", ["IPv4", "IPv4 on a socket of IPv6", "IPv6"])
def test_the_preflight_names_the_store_that_the_target_reaches_by_grpc(
    family: str,
    client: docker.DockerClient,
    through: stack.StackSpec,
    ipv6: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The target uses the proxy for its calls, and goes to the store's second port past it."""
    networks = client.containers.get(f"{through.project}-qdrant-net-1").attrs["NetworkSettings"]["Networks"]
    ipv4 = networks[through.project]["IPAddress"]
    address, shown = {
        "IPv4": (ipv4, ipv4),
        "IPv4 on a socket of IPv6": (f"::ffff:{ipv4}", ipv4),
        "IPv6": (ipv6["qdrant"], f"[{ipv6['qdrant']}]"),
    }[family]
    plan = plan_of("around.yaml", target=REFERENCE)
    require_own_traffic(client, through, plan)
    with running(client, through, "mcp", GRPC_CLIENT, address):
        wait_for(lambda: PAST in {row.route for row in traffic_of(client, through).read()})
        code, text = refused(lambda: require_own_traffic(client, through, plan), capsys)
    assert code == EXIT_USAGE
    assert f"connected to the store at {shown}:6334\n" in text and str(REFERENCE / "target.yaml") in text
    wait_for(lambda: PAST not in {row.route for row in traffic_of(client, through).read()})


def test_a_target_with_a_global_ipv6_address_is_refused(
    through: stack.StackSpec, ipv6: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = refused(lambda: stack.start(through), capsys)
    assert code == EXIT_LAB
    assert "global IPv6 addresses" in text and f"mcp-net: {ipv6['mcp']}" in text
    assert f"qdrant-net: {ipv6['qdrant']}" in text and "toxiproxy:" not in text


def traffic_of(client: docker.DockerClient, spec: stack.StackSpec) -> HostTraffic:
    return HostTraffic(spec.topology, DockerContainers(client, spec.project), RunClock())


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    assert condition()


@pytest.mark.usefixtures("grpc")
def test_a_fault_of_the_stores_link_hits_grpc_too(
    client: docker.DockerClient, through: stack.StackSpec
) -> None:
    world = world_of(client, through.topology, RunClock())
    with running(client, through, "mcp", GRPC_CLIENT, "toxiproxy"):
        follow_the_fault(world)


def follow_the_fault(world: World) -> None:
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
