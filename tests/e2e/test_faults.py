"""The contract suite of every discovered fault on real containers, and each fault once aimed beside its target."""

import os
from dataclasses import replace

import docker
import httpx
import pytest

from lab.adapters.clock import RunClock
from lab.adapters.provision import stack
from lab.errors import FaultError
from lab.faults import discover
from lab.faults.latency import Latency
from lab.model.undo import RestoreThrottle
from lab.ports import Fault, World
from lab.scenarios import build_fault
from lab.wiring import world_of
from tests.contract.examples import EXAMPLES, FAMILY, aimed_elsewhere
from tests.contract.fault_suite import check_life_cycle, check_missed

IN_TEST = [kind for kind in FAMILY if kind in discover()]


@pytest.fixture(scope="module")
def world(client: docker.DockerClient, real_stack: stack.StackSpec) -> World:
    return world_of(client, real_stack, RunClock())


def build(kind: str, params: dict[str, object]) -> Fault:
    return build_fault(kind, params, where="tests", faults=discover())


@pytest.mark.parametrize("kind", IN_TEST)
def test_life_cycle_on_real_containers(kind: str, world: World) -> None:
    check_life_cycle(build(kind, EXAMPLES[kind]), world)


@pytest.mark.parametrize("kind", IN_TEST)
def test_a_fault_that_hits_something_else_is_never_in_force(kind: str, world: World) -> None:
    elsewhere = aimed_elsewhere(kind, discover()[kind].services)
    if elsewhere is None:
        pytest.skip(f"only one service can bear {kind}")
    check_missed(build(kind, EXAMPLES[kind]), build(kind, elsewhere), world)


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


def test_what_is_not_ours_is_refused(world: World) -> None:
    state = world.containers.state("qdrant")
    with pytest.raises(FaultError, match=r"replaced|no longer"):
        world.containers.kill("qdrant", "0" * 64)
    assert world.containers.state("qdrant") == state


def test_a_slow_disk_of_the_wrong_device_is_never_in_force(world: World) -> None:
    """The kernel takes a limit for any device; only a write where the data lies shows that it misses."""
    fault = build("disk_slow", EXAMPLES["disk_slow"])
    before = fault.observe(world, None)
    root = os.stat("/").st_dev
    right = fault.prepare(world)
    assert isinstance(right, RestoreThrottle)
    undo = replace(right, device=f"{os.major(root)}:{os.minor(root)}")
    try:
        fault.inject(world, undo)
        assert not fault.observe(world, before).holds
    finally:
        type(fault).heal(world, undo)
