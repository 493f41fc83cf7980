"""Every discovered fault in a world in memory, with a negative control for each: the same fault misses."""

from dataclasses import replace

import pytest

from lab.errors import FaultError, ScenarioError
from lab.faults import discover
from lab.model.undo import RestoreCpuQuota, StartContainer
from lab.ports import ContainerState
from lab.read.campaigns import build_fault
from tests.contract.examples import EXAMPLES
from tests.contract.fakes import fake_world
from tests.contract.fault_suite import check_life_cycle

KINDS = sorted(discover())


def build(kind: str):  # type: ignore[no-untyped-def]
    params = EXAMPLES.get(kind, {})
    return build_fault(kind, params, where="tests", faults=discover())


@pytest.mark.parametrize("kind", KINDS)
def test_life_cycle(kind: str) -> None:
    check_life_cycle(build(kind), fake_world())


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_misses_never_holds(kind: str) -> None:
    """The commands succeed and change nothing: a deaf container, a disabled proxy."""
    fault, world = build(kind), fake_world(deaf={"qdrant", "mcp"})
    before = fault.observe(world, None)
    undo = fault.prepare(world)
    world.proxies.disabled.update({"qdrant", "mcp"})  # type: ignore[attr-defined]
    fault.inject(world, undo)
    assert not fault.observe(world, before).holds


def test_latency_refuses_a_disabled_proxy() -> None:
    with pytest.raises(FaultError, match="disabled"):
        build("latency").prepare(fake_world(disabled={"qdrant"}))


def test_kill_refuses_what_is_dead_already() -> None:
    world = fake_world()
    world.containers.kill("qdrant", "id-qdrant")
    with pytest.raises(FaultError, match="does not run"):
        build("kill").prepare(world)


@pytest.mark.parametrize(
    ("kind", "undo"),
    [
        ("kill", StartContainer("qdrant", "another-id")),
        ("cpu_cap", RestoreCpuQuota("mcp", "another-id", -1, 100_000)),
    ],
)
def test_heal_leaves_a_replaced_container_alone(kind: str, undo: object) -> None:
    with pytest.raises(FaultError, match="replaced"):
        discover()[kind].heal(fake_world(), undo)


def test_cpu_cap_needs_proof_that_more_was_to_be_had_before() -> None:
    """A container that never gets more than the cap proves nothing."""
    world = fake_world()
    world.containers.quotas["mcp"] = world.cgroups.cpu_quota("mcp").__class__(20_000, 100_000)  # type: ignore[attr-defined]
    before = build("cpu_cap").observe(world, None)
    assert not before.absent


def test_a_busy_disk_is_not_a_slow_one() -> None:
    """The limit misses, and somebody else's work makes the device as slow as the limit would."""
    fault, world = build("disk_slow"), fake_world(deaf={"qdrant"})
    before = fault.observe(world, None)
    fault.inject(world, fault.prepare(world))
    world.storage.busy_s = 1.0  # type: ignore[attr-defined]
    seen = fault.observe(world, before)
    assert not seen.holds and not seen.absent


def test_a_busy_machine_does_not_hide_that_no_cpu_is_capped() -> None:
    """If other processes leave the service less than the cap, the fault is still absent: nothing is throttled."""
    fault, world = build("cpu_cap"), fake_world()
    world.cgroups.given = 0.2  # type: ignore[attr-defined]
    assert fault.observe(world, None).absent


@pytest.mark.parametrize(("starts_s", "holds"), [((0.5, 4.0), True), ((0.5, 60.0), False)])
def test_a_crash_loop_is_two_restarts_however_slow_they_are(
    starts_s: tuple[float, ...], holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single restart is another fault. A second restart that a busy machine delays is waited for."""
    fault, world = build("crash_loop"), fake_world()
    before = fault.observe(world, None)
    at_s = world.clock.now_ms() / 1000
    state = world.containers.state("qdrant")

    def seen(service: str) -> ContainerState:
        count = sum(world.clock.now_ms() / 1000 >= at_s + one for one in starts_s)
        return replace(state, started_at=f"2026-01-01T00:00:0{count}Z")

    monkeypatch.setattr(world.containers, "state", seen)
    assert fault.observe(world, before).holds is holds


def test_jitter_that_would_hide_the_delay_is_refused() -> None:
    params = {"target": "qdrant", "latency_ms": 100, "jitter_ms": 60}
    with pytest.raises(ScenarioError, match="jitter_ms"):
        build_fault("latency", params, where="tests", faults=discover())
