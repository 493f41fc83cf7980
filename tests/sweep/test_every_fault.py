"""Every discovered fault on real containers: its life cycle on each service, and each way in which it can miss.

A kind without an example or without a way to miss fails. Timings are printed at the end.
"""

from collections.abc import Iterator
from dataclasses import replace

import docker
import pytest

from lab.faults import discover
from lab.host.world import world_of
from lab.observe.clock import RunClock
from lab.ports import Observation, World
from lab.provision.stack import stack
from lab.run.context import RunState
from lab.run.fault_step import run_fault_step
from lab.run.recovered import WellSince
from tests.contract.examples import EXAMPLES
from tests.contract.fault_suite import (
    LOOKS,
    Life,
    Miss,
    absent,
    check_life_cycle,
    check_void,
    eventually,
)
from tests.contract.run_fakes import FakeRecorder, FakeUndos, context, plan_of
from tests.e2e import stacks
from tests.e2e.misses import build, misses

FAULTS = discover()
KINDS = sorted(FAULTS)
TOXICS = [kind for kind in KINDS if FAULTS[kind].family == "link" and kind != "link_down"]
MISSES = [
    pytest.param(kind, miss, id=f"{kind}-{name}") for kind in KINDS for name, miss in misses(kind).items()
]
OTHERS = [
    (kind, service)
    for kind in KINDS
    for service in FAULTS[kind].services
    if service != EXAMPLES.get(kind, {}).get("target")
]
DISK: dict[str, dict[str, int]] = {
    "write-operations": {"write_bps": 0, "write_iops": 20},
    "read-bytes": {"write_bps": 0, "read_bps": 2_000_000},
    "read-operations": {"write_bps": 0, "read_iops": 20},
    "all-four": {"write_bps": 4_000_000, "read_bps": 4_000_000, "write_iops": 200, "read_iops": 200},
}
# What a service that gets a tenth of a core, and shares it, does by itself.
STARVED = [("latency", {"latency_ms": 50}), ("bandwidth", {"rate_kb_per_s": 10}), ("slicer", {})]
# At least one of each family, none of which spoils the proof of another.
TOGETHER = [
    kind for kind in ("slow_close", "packet_loss", "freeze", "memory_cap", "disk_full") if kind in FAULTS
]

pytestmark = [pytest.mark.sweep, pytest.mark.docker]


@pytest.fixture(scope="module")
def spec() -> Iterator[stack.StackSpec]:
    with stacks.ephemeral_stack(stacks.images()) as spec:
        yield spec


@pytest.fixture(scope="module")
def heard() -> list[tuple[str, str, str]]:
    """The entries of the audit: action, object, detail."""
    return []


@pytest.fixture(scope="module")
def world(spec: stack.StackSpec, heard: list[tuple[str, str, str]]) -> World:
    return world_of(docker.from_env(), spec.topology, RunClock(), audit=lambda *said: heard.append(said))


@pytest.fixture(scope="module")
def lives(request: pytest.FixtureRequest) -> Iterator[dict[str, Life]]:
    """The durations of each life cycle in seconds, printed at the end."""
    found: dict[str, Life] = {}
    yield found
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{'seconds':32} {'look':>6} {'injected':>9} {'proven':>7} {'healed':>7} {'gone':>6}")
        for name, one in found.items():
            times = f"{one.look:6.2f} {one.injected:9.3f} {one.proven:7.2f} {one.healed:7.3f} {one.gone:6.2f}"
            print(f"{name:32} {times}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_an_example_and_a_way_to_miss(kind: str) -> None:
    assert kind in EXAMPLES, "add its parameters to tests/contract/examples.py"
    assert misses(kind), "only one service can bear it: add a miss by hand to tests/e2e/misses.py"


@pytest.mark.parametrize("kind", KINDS)
def test_life_cycle(
    kind: str, world: World, heard: list[tuple[str, str, str]], lives: dict[str, Life]
) -> None:
    """The audit records its inject and its heal, and nothing for prepare, which has no effect."""
    told: dict[str, list[tuple[str, str, str]]] = {}

    def at(moment: str) -> None:
        told[moment] = list(heard)
        heard.clear()

    heard.clear()
    lives[kind] = check_life_cycle(build(kind, EXAMPLES[kind]), world, at)
    assert not told["prepared"] and told["injected"] and told["healed"], told


@pytest.mark.parametrize(("kind", "miss"), MISSES)
def test_missed(kind: str, miss: Miss, world: World) -> None:
    check_void(build(kind, EXAMPLES[kind]), miss, world)


@pytest.mark.parametrize(("kind", "service"), OTHERS)
def test_on_every_other_service_that_it_claims(
    kind: str, service: str, world: World, lives: dict[str, Life]
) -> None:
    fault = build(kind, {**EXAMPLES[kind], "target": service})
    lives[f"{kind} on {service}"] = check_life_cycle(fault, world)


@pytest.mark.parametrize("toxicity", [1.0, 0.5])
@pytest.mark.parametrize("direction", ["downstream", "upstream"])
@pytest.mark.parametrize("kind", TOXICS)
def test_on_links(kind: str, direction: str, toxicity: float, world: World, lives: dict[str, Life]) -> None:
    fault = build(kind, {**EXAMPLES[kind], "direction": direction, "toxicity": toxicity})
    lives[f"{kind} {direction} {toxicity:g}"] = check_life_cycle(fault, world)


@pytest.mark.parametrize("limits", DISK)
def test_slow_disks(limits: str, world: World, lives: dict[str, Life]) -> None:
    fault = build("disk_slow", {"target": "qdrant", **DISK[limits]})
    lives[f"disk_slow {limits}"] = check_life_cycle(fault, world)


@pytest.mark.parametrize(("kind", "params"), STARVED)
def test_a_starved_service_is_not_taken_for_a_fault_on_its_link(
    kind: str, params: dict[str, int], world: World
) -> None:
    """A toxic misses, and the service is so short of CPU that it is as slow by itself as with the toxic."""
    meant = build(kind, {"target": "mcp", **params})
    cap, burners = (
        build("cpu_cap", {"target": "mcp", "cores": 0.1}),
        build("cpu_saturation", {"target": "mcp"}),
    )
    before = eventually(meant, world, None, absent)
    undo = meant.prepare(world)
    starving = [(one, one.prepare(world)) for one in (burners, cap)]
    try:
        for one, own in starving:
            one.inject(world, own)
        looks: list[Observation] = []
        end_ms = world.clock.now_ms() + 5000
        while len(looks) < LOOKS or world.clock.now_ms() < end_ms:
            looks.append(meant.observe(world, before))
    finally:
        for one, own in reversed(starving):
            type(one).heal(world, own)
        type(meant).heal(world, undo)
    assert not any(seen.holds for seen in looks), looks
    assert not all(seen.absent for seen in looks), "the service was not starved, so this shows nothing"
    assert eventually(meant, world, before, absent).absent


def test_several_at_once_are_all_in_force_and_heal_in_reverse(world: World) -> None:
    """The faults of a step with `with:` in a campaign, carried out by the run's own code."""
    plan = plan_of([[(kind, EXAMPLES[kind]) for kind in TOGETHER]])
    faults = [replace(one, hold_s=1.0, recovery_max_s=20.0) for one in plan.steps[1].faults]
    recorder, undos, state = FakeRecorder(world), FakeUndos(), RunState()
    run = context(world, recorder, undos)
    run_fault_step(faults, WellSince(plan, run.recent), run, state)
    told = [(event.kind, str(event.data.get("fault"))) for event in recorder.events]
    ids = [one.id for one in faults]
    assert [fault for kind, fault in told if kind == "fault_in_force"] == ids, recorder.events
    assert [fault for kind, fault in told if kind == "fault_healed"] == ids[::-1]
    assert told.index(("fault_in_force", ids[-1])) < told.index(("fault_healing", ids[-1]))
    proofs = [event.data for event in recorder.events if event.kind == "proof"]
    for fault in ids:
        still = [one for one in proofs if one["fault"] == fault and one["moment"] == "still"]
        after = [one for one in proofs if one["fault"] == fault and one["moment"] == "after"]
        assert still[-1]["holds"] and after[-1]["absent"], (still, after)
    assert not state.pending and not undos.records
