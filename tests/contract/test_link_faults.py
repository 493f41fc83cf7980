"""Faults on links: both links and directions, a share of the connections, several at once, and each of them missed."""

from typing import Any

import pytest

from lab.errors import FaultError, ScenarioError
from lab.faults import discover
from lab.model.undo import EnableProxy, RemoveToxic
from lab.ports import Fault
from lab.read.campaigns import build_fault
from tests.contract.fakes import fake_world
from tests.contract.fault_suite import check_life_cycle, check_missed

KINDS = sorted(kind for kind, fault in discover().items() if fault.family == "link")
TOXICS = [kind for kind in KINDS if kind != "link_down"]
DIRECTIONS = ("downstream", "upstream")


def build(kind: str, target: str = "qdrant", **params: Any) -> Fault:
    return build_fault(kind, {"target": target, **params}, where="tests", faults=discover())


@pytest.mark.parametrize("target", ["qdrant", "mcp"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", TOXICS)
def test_life_cycle_on_either_link_in_either_direction(kind: str, direction: str, target: str) -> None:
    check_life_cycle(build(kind, target, direction=direction), fake_world())


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", TOXICS)
def test_a_share_of_the_connections_is_enough(kind: str, direction: str) -> None:
    check_life_cycle(build(kind, direction=direction, toxicity=0.3), fake_world())


@pytest.mark.parametrize("kind", TOXICS)
def test_more_than_the_share_is_not_what_was_promised(kind: str) -> None:
    """A toxic that hits every connection, although three in ten were promised."""
    promised, done, world = build(kind, toxicity=0.3), build(kind), fake_world()
    before = promised.observe(world, None)
    done.inject(world, done.prepare(world))
    seen = promised.observe(world, before)
    assert not seen.holds and not seen.absent


@pytest.mark.parametrize("kind", TOXICS)
def test_a_toxicity_too_small_to_prove_is_refused(kind: str) -> None:
    with pytest.raises(ScenarioError, match="toxicity"):
        build(kind, toxicity=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_on_the_other_link_it_is_missed(kind: str) -> None:
    check_missed(build(kind), build(kind, "mcp"), fake_world())


@pytest.mark.parametrize("kind", KINDS)
def test_a_disabled_proxy_is_refused(kind: str) -> None:
    with pytest.raises(FaultError, match="disabled"):
        build(kind).prepare(fake_world(disabled={"qdrant"}))


@pytest.mark.parametrize("kind", ["reset_peer", "link_down"])
def test_open_connections_that_stay_open_are_no_proof(kind: str) -> None:
    fault, world = build(kind), fake_world()
    before = fault.observe(world, None)
    fault.inject(world, fault.prepare(world))
    world.proxies.kept["qdrant"] = None  # type: ignore[attr-defined]
    assert not fault.observe(world, before).holds


@pytest.mark.parametrize("slow_ms", [300.0, 700.0, 3000.0])
@pytest.mark.parametrize("kind", TOXICS)
def test_a_slow_service_is_not_taken_for_a_fault_on_the_link(kind: str, slow_ms: float) -> None:
    """The toxic misses, and the service itself becomes slow by as much as the toxic would have delayed it."""
    fault, world = build(kind), fake_world()
    before = fault.observe(world, None)
    fault.prepare(world)
    world.proxies.slow_ms = slow_ms  # type: ignore[attr-defined]
    assert not fault.observe(world, before).holds


@pytest.mark.parametrize("kind", TOXICS)
def test_a_dead_service_is_not_taken_for_a_fault_on_the_link(kind: str) -> None:
    fault, world = build(kind), fake_world()
    before = fault.observe(world, None)
    fault.prepare(world)
    world.proxies.dead.add("qdrant")  # type: ignore[attr-defined]
    world.proxies.reset_connections("qdrant")
    assert not fault.observe(world, before).holds


@pytest.mark.parametrize("kind", TOXICS)
def test_a_look_before_that_a_busy_machine_spoilt_does_not_void_the_fault(kind: str) -> None:
    fault, world = build(kind), fake_world()
    world.proxies.slow_ms = 100.0  # type: ignore[attr-defined]
    before = fault.observe(world, None)
    world.proxies.slow_ms = 0.0  # type: ignore[attr-defined]
    fault.inject(world, fault.prepare(world))
    assert fault.observe(world, before).holds


def test_several_toxics_have_names_of_their_own_and_heal_one_by_one() -> None:
    world = fake_world()
    faults = [build(kind, direction=direction) for kind in TOXICS for direction in DIRECTIONS]
    undos = [fault.prepare(world) for fault in faults]
    for fault, undo in zip(faults, undos, strict=True):
        fault.inject(world, undo)
    assert len(set(world.proxies.toxics("qdrant"))) == len(faults)
    for left, (fault, undo) in reversed(list(enumerate(zip(faults, undos, strict=True)))):
        type(fault).heal(world, undo)
        assert len(world.proxies.toxics("qdrant")) == left


@pytest.mark.parametrize("kind", KINDS)
def test_heal_works_from_the_undo_alone(kind: str) -> None:
    undo = EnableProxy("mcp") if kind == "link_down" else RemoveToxic("mcp", "lab-gone-upstream")
    discover()[kind].heal(fake_world(), undo)
