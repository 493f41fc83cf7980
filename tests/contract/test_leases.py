"""Leases: in a run that does not hang, no accepted fault takes longer than its lease, however slow it is."""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lab.errors import FaultError, ScenarioError
from lab.faults import discover
from lab.faults.catalogue import Parameter, catalogue
from lab.faults.link import proof
from lab.faults.process.crash_loop import CrashLoop
from lab.host.cgroups import cgroups
from lab.judge.checks import default_bounds
from lab.model.lease import HEAL_TIMEOUT_S, PROOF_TIMEOUT_S
from lab.model.plan import FAULT, PlannedFault
from lab.model.scenario import FaultSpec, Scenario
from lab.model.topology import Topology
from lab.model.undo import Undo, Unpause
from lab.plan.steps import steps_of
from lab.ports import Fault, Observation, World, proxies
from lab.ports.proxies import Exchange
from lab.read.campaigns import build_fault
from lab.run.context import RunState
from lab.run.fault_step import run_fault_step
from lab.run.recovered import WellSince
from tests.contract.fakes import FakeClock, fake_world
from tests.contract.run_fakes import FakeGuard, FakeRecorder, FakeUndos, context, plan_of

KINDS = discover()
ENTRIES = {entry.kind: entry for entry in catalogue()}
BESIDE = (("slow_close", "mcp"), ("packet_loss", "mcp"), ("cpu_cap", "mcp"), ("crash_loop", "qdrant"))


def values(parameter: Parameter) -> list[Any]:
    """The smallest and the largest accepted value, and the default."""
    found = [*parameter.choices, parameter.default, parameter.minimum, parameter.maximum]
    kept = [int(one) if parameter.type == "integer" else one for one in found if one is not None]
    return list(dict.fromkeys(kept))


@st.composite
def specs(draw: st.DrawFn, kind: str, target: str | None = None) -> FaultSpec:
    """A fault with its parameters at any of these values; combinations that its class refuses are left out."""
    entry = ENTRIES[kind]
    params = {one.name: draw(st.sampled_from(values(one))) for one in entry.parameters}
    params["target"] = target or draw(st.sampled_from(entry.services))
    try:
        fault = build_fault(kind, params, where="test", faults=KINDS)
    except ScenarioError:
        assume(False)
    return FaultSpec(kind, fault.target, fault, draw(st.sampled_from([1.0, 60.0])))


def most(kind: str) -> FaultSpec:
    """The fault whose observations take longest: every parameter at its maximum, but the toxicity at its minimum."""
    params = {
        one.name: one.minimum if one.name == "toxicity" else values(one)[-1]
        for one in ENTRIES[kind].parameters
        if not one.choices
    }
    fault = build_fault(kind, {"target": ENTRIES[kind].services[0], **params}, where="test", faults=KINDS)
    return FaultSpec(kind, fault.target, fault, 20.0)


def fault_of(spec: FaultSpec) -> Fault:
    """The fault of a spec, of which the planner knows only the facts, as what acts and observes."""
    assert isinstance(spec.params, KINDS[spec.kind])
    return spec.params


def leased(spec: FaultSpec) -> tuple[PlannedFault, ...]:
    """The faults of a step as they are planned."""
    scenario = Scenario("test", "why", 6 * 86_400.0, (spec,), default_bounds(), ())
    (step,) = [step for step in steps_of(scenario, [spec]) if step.kind == FAULT]
    return step.faults


@dataclass
class Laggard:
    """A fault as slow as its kind allows, each of whose observations and heals succeeds only at the last try."""

    spec: FaultSpec
    world: World
    since_ms: float | None = None

    @property
    def transient(self) -> bool:
        return self.spec.params.transient

    def own_traffic(self, topology: Topology) -> None:
        """It acts on no connection."""

    def prepare(self, world: World) -> Unpause:
        return Unpause("qdrant", "id-qdrant")

    def inject(self, world: World, undo: object) -> None:
        world.clock.sleep_s(self.spec.params.act_max_s / 2)

    def observe(self, world: World, before: Observation | None) -> Observation:
        if before is None:
            return Observation(0, "", holds=False, absent=True)
        if not self._late(PROOF_TIMEOUT_S, world, within=True):
            return Observation(0, "", holds=False, absent=False)
        world.clock.sleep_s(self.spec.params.look_max_s)
        self.since_ms = None
        return Observation(0, "", holds=True, absent=True)

    def heal(self, world: World, undo: object) -> None:
        if not self._late(HEAL_TIMEOUT_S, world, within=False):
            raise FaultError("not yet")
        world.clock.sleep_s(self.spec.params.act_max_s / 2)
        self.since_ms = None

    def _late(self, timeout_s: float, world: World, *, within: bool) -> bool:
        now_ms = world.clock.now_ms()
        self.since_ms = now_ms if self.since_ms is None else self.since_ms
        passed_s = (now_ms - self.since_ms) / 1000
        return passed_s > timeout_s if within else passed_s >= timeout_s - 0.01


@dataclass
class Clocked(FakeGuard):
    """A guardian that records for how many seconds each lease was needed."""

    world: World | None = None
    since_ms: dict[str, float] = field(default_factory=dict)
    needed_s: dict[str, float] = field(default_factory=dict)

    def lease(self, fault_id: str, seconds: float) -> float:
        assert self.world is not None
        self.since_ms[fault_id] = self.world.clock.now_ms()
        return super().lease(fault_id, seconds)

    def release(self, fault_id: str) -> None:
        assert self.world is not None
        self.needed_s[fault_id] = (self.world.clock.now_ms() - self.since_ms[fault_id]) / 1000
        super().release(fault_id)


def needed_s(spec: FaultSpec, faults: tuple[PlannedFault, ...]) -> dict[str, float]:
    """For how many seconds each lease of a step is needed in the worst case, carried out by the run's own code."""
    world = fake_world()
    guard = Clocked(world=world)
    built = {fault.id: Laggard(one, world) for fault, one in zip(faults, spec.together, strict=True)}
    plan = plan_of([[("kill", {"target": "qdrant"})]])
    run = replace(
        context(world, FakeRecorder(world), FakeUndos()),
        guard=guard,
        build=lambda planned: built[planned.id],  # type: ignore[arg-type,return-value]
    )
    run_fault_step(faults, WellSince(plan, run.recent), run, RunState())
    return guard.needed_s


def assert_leased(spec: FaultSpec) -> None:
    faults = leased(spec)
    needed = needed_s(spec, faults)
    assert set(needed) == {fault.id for fault in faults}
    for fault in faults:
        assert needed[fault.id] <= fault.lease_s, f"{fault.kind}: {needed[fault.id]} of {fault.lease_s} s"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_accepted_fault_outlasts_its_lease(kind: str) -> None:
    assert_leased(most(kind))

    @settings(max_examples=20, deadline=None)
    @given(specs(kind))
    def at_any_end(spec: FaultSpec) -> None:
        assert_leased(spec)

    at_any_end()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data())
def test_nor_do_several_together(data: st.DataObject) -> None:
    first, *others = [data.draw(specs(kind, target)) for kind, target in BESIDE]
    try:
        assert_leased(replace(first, companions=tuple(others)))
    except ScenarioError as error:  # the crash loop ends before all have been looked at
        assert "ends by itself" in error.what


@pytest.mark.parametrize("kind", ["timeout", "latency", "slow_close", "reset_peer", "crash_loop"])
def test_a_lease_that_knows_nothing_of_looks_is_outlasted(kind: str) -> None:
    """The negative control of the tests above: a lease of a minute beyond the hold is too short."""
    spec = most(kind)
    faults = tuple(replace(one, lease_s=one.hold_s + 60.0) for one in leased(spec))
    assert max(needed_s(spec, faults).values()) > faults[0].lease_s


class Costly:
    """A part of the world whose calls take as long on the world's clock as the real calls may take."""

    def __init__(self, inner: Any, clock: Any, costs: dict[str, Callable[..., float]]) -> None:
        self._inner, self._clock, self._costs = inner, clock, costs

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._costs:
            return found

        def call(*args: Any, **more: Any) -> Any:
            self._clock.sleep_s(self._costs[name](*args, **more))
            return found(*args, **more)

        return call


def exchanges_s(what: Exchange, number: int, apart_s: float = 0.0) -> float:
    """Exchanges as a pool of threads carries them out, each to the very end of its patience."""
    workers = [0.0] * (1 if what.alone else min(number, proxies.AT_ONCE_MAX))
    ends = []
    for one in range(number):
        began = max(heapq.heappop(workers), one * apart_s)
        ends.append(began + proxies.CONNECT_TIMEOUT_S + what.timeout_s)
        heapq.heappush(workers, ends[-1])
    return max(ends)


def compared_s(proxy: str, what: Exchange, tries: int) -> float:
    if what.alone:
        return exchanges_s(what, 2 * tries - 1)
    return exchanges_s(what, tries, 2 * proxies.START_PAUSE_S)


def slow_world(*, deaf: set[str] | None = None) -> World:
    """A world in which every call takes its whole timeout, or the longest time that it is allowed."""
    world = fake_world(deaf=deaf)
    program_s, job_s = 10.0, float(cgroups.PROBE_S)
    begin_s, end_s, call_s = 15.0, 5.0, 1.0

    # What the fakes themselves wait is part of the costs here.
    world.netns.clock = FakeClock()  # type: ignore[attr-defined]

    def costly(inner: Any, **costs: Callable[..., float]) -> Any:
        return Costly(inner, world.clock, costs)

    def calls(*names: str, seconds: float) -> dict[str, Callable[..., float]]:
        return {name: lambda *args, **more: seconds for name in names}

    limits = calls("set_cpu_quota", "set_memory_limit", "set_pids_max", seconds=call_s)
    lives = calls("kill", "terminate", "start", "pause", "unpause", seconds=call_s)
    return replace(
        world,
        containers=costly(
            world.containers,
            **limits,
            **lives,
            restart=lambda service, container_id, grace_s: grace_s + call_s,
        ),
        proxies=costly(
            world.proxies,
            compare=compared_s,
            exchange=lambda proxy, what, tries: exchanges_s(what, tries),
            **calls("add_toxic", "remove_toxic", "toxics", "disable", "enable", seconds=2.0),
        ),
        reach=costly(world.reach, answers=lambda service, *, timeout_s: timeout_s),
        netns=costly(
            world.netns,
            connects=lambda service, tries, timeout_s, *, outward: timeout_s,
            echo=lambda service, count, size, per_s, timeout_s: count / per_s + timeout_s,
            resolve=lambda service, name, timeout_s: timeout_s,
            deny_names=lambda *args: begin_s,
            delay_names=lambda *args: begin_s,
            **calls("packets", "add_chain", "add_qdisc", "remove_chain", "remove_qdisc", seconds=program_s),
        ),
        processes=costly(
            world.processes, **calls("burn", "crash", "connect", seconds=begin_s), end=lambda token: end_s
        ),
        cgroups=costly(
            world.cgroups,
            burn=lambda service, seconds: seconds + program_s,
            exhaust=lambda *args: float(cgroups.EXHAUST_S),
            **calls("limit_hits", "try_forks", seconds=job_s),
        ),
        storage=costly(world.storage, **calls("io_seconds", seconds=job_s)),
    )


def seconds_of(world: World, act: Callable[[], object]) -> float:
    began_ms = world.clock.now_ms()
    act()
    return (world.clock.now_ms() - began_ms) / 1000


def assert_as_stated(spec: FaultSpec, world: World) -> None:
    """Check that each observation, and inject and heal together, take no longer than the kind states."""
    fault = fault_of(spec)
    seen: list[Observation] = []
    undos: list[Undo] = []
    took = [seconds_of(world, lambda: seen.append(fault.observe(world, None)))]
    undos.append(fault.prepare(world))
    acted = seconds_of(world, lambda: fault.inject(world, undos[0]))
    took += [seconds_of(world, lambda: fault.observe(world, seen[0])) for _ in range(2)]
    acted += seconds_of(world, lambda: fault.heal(world, undos[0]))
    assert max(took) <= spec.params.look_max_s + 0.001, f"{spec.kind}: a look took {max(took)} s"
    assert acted <= spec.params.act_max_s, f"{spec.kind}: inject and heal took {acted} s"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_looks_and_acts_take_no_longer_than_the_kind_says(kind: str) -> None:
    assert_as_stated(most(kind), slow_world())
    assert_as_stated(most(kind), slow_world(deaf=set(ENTRIES[kind].services)))

    @settings(max_examples=20, deadline=None)
    @given(specs(kind))
    def at_any_end(spec: FaultSpec) -> None:
        assert_as_stated(spec, slow_world())

    at_any_end()


def test_a_crash_loop_whose_second_start_is_late_is_seen_within_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec, world = most("crash_loop"), fake_world()
    state = world.containers.state("qdrant")
    fault = spec.params
    assert isinstance(fault, CrashLoop)
    window_s = 2.5 * fault.every_s

    def seen(service: str) -> Any:
        late = world.clock.now_ms() / 1000 >= window_s - 0.1
        return replace(state, started_at="2026-01-01T00:00:01Z") if late else state

    monkeypatch.setattr(world.containers, "state", seen)
    took = seconds_of(world, lambda: fault.observe(world, None))
    assert window_s + 4.9 < took <= fault.look_max_s


def started() -> Iterator[tuple[str, float]]:
    """Every kind that starts something which ends by itself, with the seconds after which it ends."""
    for kind in sorted(KINDS):
        fault, world = fault_of(most(kind)), fake_world()
        found: list[float] = []

        def noted(*args: Any, found: list[float] = found) -> float:
            found.append(float(args[-1]))
            return 0.0

        world = replace(
            world,
            processes=Costly(
                world.processes, world.clock, dict.fromkeys(("burn", "crash", "connect"), noted)
            ),
            netns=Costly(world.netns, world.clock, {"deny_names": noted, "delay_names": noted}),
        )
        fault.inject(world, fault.prepare(world))
        yield from ((kind, one) for one in found)


def test_each_kind_says_when_what_it_starts_ends_by_itself() -> None:
    """The lifetime that a kind states is that of its process. The adapter itself starts that of `memory_pressure`."""
    lives = dict(started())
    assert lives == {
        kind: fault.lifetime_s
        for kind, fault in KINDS.items()
        if math.isfinite(fault.lifetime_s) and kind != "memory_pressure"
    }


def test_exchanges_that_outnumber_the_threads_take_several_rounds() -> None:
    assert proof.exchanged_max_s(Exchange(timeout_s=10.0), 8) == 12.0
    assert proof.exchanged_max_s(Exchange(timeout_s=10.0), 9) == 24.0
    assert proof.compared_max_s(Exchange(timeout_s=10.0, alone=True), 1.0) == 60.0
