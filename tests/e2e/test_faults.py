"""The contract suite of every discovered fault on real containers, and each fault once aimed beside its target."""

import docker
import httpx
import pytest

from lab.adapters.clock import RunClock
from lab.adapters.provision import stack
from lab.errors import FaultError
from lab.faults import discover
from lab.faults.cpu_cap import CpuCap
from lab.faults.kill import Kill
from lab.faults.latency import Latency
from lab.ports import Fault, World
from lab.scenarios import build_fault
from lab.wiring import world_of
from tests.contract.fault_suite import check_life_cycle, eventually, examples


@pytest.fixture(scope="module")
def world(client: docker.DockerClient, real_stack: stack.StackSpec) -> World:
    return world_of(client, real_stack, RunClock())


@pytest.mark.parametrize("kind", sorted(discover()))
def test_life_cycle_on_real_containers(kind: str, world: World) -> None:
    fault = build_fault(kind, examples().get(kind, {}), where="tests", faults=discover())
    check_life_cycle(fault, world)


def test_a_toxic_on_a_disabled_proxy_is_never_in_force(world: World, real_stack: stack.StackSpec) -> None:
    """Toxiproxy takes the toxic and says 200; only a measurement shows that nothing happens."""
    fault = Latency("qdrant", latency_ms=200)
    proxy = f"http://127.0.0.1:{real_stack.ports['toxiproxy']}/proxies/qdrant"
    before = fault.observe(world, None)
    undo = fault.prepare(world)
    try:
        httpx.post(proxy, json={"enabled": False}, timeout=5).raise_for_status()
        fault.inject(world, undo)
        assert not fault.observe(world, before).holds
        with pytest.raises(FaultError, match="disabled"):
            fault.prepare(world)
    finally:
        httpx.post(proxy, json={"enabled": True}, timeout=5).raise_for_status()
        Latency.heal(world, undo)


@pytest.mark.parametrize(
    ("meant", "done"),
    [
        (Latency("qdrant", latency_ms=200), Latency("mcp", latency_ms=200)),
        (CpuCap("mcp", cores=0.3), CpuCap("qdrant", cores=0.3)),
        (Kill("mcp"), Kill("qdrant")),
    ],
    ids=["latency", "cpu_cap", "kill"],
)
def test_a_fault_that_hits_something_else_is_never_in_force(meant: Fault, done: Fault, world: World) -> None:
    """The wrong link, the wrong cgroup, the wrong container: each command succeeds, and the proof must not."""
    before, mended = meant.observe(world, None), done.observe(world, None)
    undo = done.prepare(world)
    try:
        done.inject(world, undo)
        assert not meant.observe(world, before).holds
    finally:
        type(done).heal(world, undo)
    assert eventually(done, world, mended, lambda seen: seen.absent).absent


def test_what_is_not_ours_is_refused(world: World) -> None:
    state = world.containers.state("qdrant")
    with pytest.raises(FaultError, match="replaced"):
        world.containers.kill("qdrant", "0" * 64)
    assert world.containers.state("qdrant") == state
