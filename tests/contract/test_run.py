"""The run loop in a world in memory: the order of its journal, and that it heals whatever happens, wherever."""

from contextlib import suppress
from dataclasses import replace

import pytest

from lab.boundary import Caught, attempt
from lab.errors import FencedError, RunFailed, WorldError
from lab.faults import discover
from lab.guard.fence import fenced_audit
from lab.guard.heal import heal_pending
from lab.model.samples import Probe, Rows, Samples
from lab.model.undo import UndoRecord
from lab.observe.clock import ClockJump
from lab.ports import CpuQuota, World
from lab.run.context import RunState, report_error
from lab.run.loop import execute
from lab.run.recovered import WellSince
from tests.contract.examples import EXAMPLES, FAMILY
from tests.contract.fakes import FakeContainers, fake_world
from tests.contract.run_fakes import (
    FakeGuard,
    FakeObserver,
    FakeRecent,
    FakeRecorder,
    FakeUndos,
    FakeWatchdog,
    Stop,
    context,
    plan,
    plan_of,
)

ALL_FAULTS = [(kind, EXAMPLES[kind]) for kind in FAMILY if kind in EXAMPLES]


def healthy(world) -> bool:  # type: ignore[no-untyped-def]
    """Whether nothing of any fault is left in a fake world."""
    containers = world.containers
    calm = not any(world.proxies.added.values()) and not any(world.netns.chains.values())
    alive = all(state.running for state in containers.states.values()) and not world.storage.fillers
    return calm and alive and all(quota.quota_us == -1 for quota in containers.quotas.values())


def test_each_fault_goes_through_its_life_in_order() -> None:
    world, undos = fake_world(), FakeUndos()
    recorder = FakeRecorder(world)
    assert execute(plan(ALL_FAULTS), context(world, recorder, undos))
    for kind, _ in ALL_FAULTS:
        story = [e for e in recorder.events if str(e.data.get("fault", "")).endswith(kind)]
        assert [e.kind for e in story if e.kind != "proof"] == [
            "fault_injecting",
            "fault_injected",
            "fault_in_force",
            "fault_healing",
            "fault_healed",
            "settled",
        ]
        moments = [e.data["moment"] for e in story if e.kind == "proof"]
        assert moments[0] == "before" and moments[-1] == "after" and {"during", "still"} <= set(moments)
        assert story[-1].data["recovered"] is True
    assert healthy(world) and not undos.records


@pytest.mark.parametrize(("slow_hz", "closely"), [(2.0, False), (0.2, True)])
def test_a_hold_is_watched_closely_where_the_usual_rate_would_hardly_show_a_relapse(
    monkeypatch: pytest.MonkeyPatch, slow_hz: float, closely: bool
) -> None:
    world = fake_world()
    recorder = FakeRecorder(world)
    usual = plan([("latency", EXAMPLES["latency"])])
    cast = context(world, recorder, FakeUndos())
    seen: list[bool] = []
    assert isinstance(cast.observer, FakeObserver)
    heed = cast.observer.watch_closely

    def watch_closely(closely: bool) -> None:
        seen.append(closely)
        heed(closely)

    monkeypatch.setattr(cast.observer, "watch_closely", watch_closely)
    assert execute(replace(usual, observer=replace(usual.observer, canary_slow_hz=slow_hz)), cast)
    assert (seen.count(False) < 5) == closely
    assert not seen[-1]


class LateRecent(FakeRecent):
    """Rows that arrive some seconds after they were sent, as k6's do."""

    late_ms = 0.0

    def since(self, from_ms: float) -> Samples:
        now_ms = self.world.clock.now_ms()
        known = [probe for probe in super().since(from_ms).probes if probe.sent_ms <= now_ms - self.late_ms]
        return Samples(probes=Rows(known))


@pytest.mark.parametrize("late_ms", [0.0, 3000.0])
def test_a_recovery_has_held_once_the_answers_of_that_time_are_known(late_ms: float) -> None:
    world = fake_world()
    recorder = FakeRecorder(world)
    brief = replace(plan([("latency", EXAMPLES["latency"])]), stays_well_s=8.0)
    recent = LateRecent(world)
    recent.late_ms = late_ms
    assert execute(brief, replace(context(world, recorder, FakeUndos()), recent=recent))
    at_ms = {event.kind: event.at_ms for event in recorder.events}
    took_ms = at_ms["settled"] - at_ms["fault_healed"]
    assert 8000 + late_ms <= took_ms < 10_000 + late_ms


def _events_of_a_whole_run() -> int:
    world = fake_world()
    recorder = FakeRecorder(world)
    execute(plan(ALL_FAULTS), context(world, recorder, FakeUndos()))
    return len(recorder.events)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that was well for half a second has recovered: for tests that carry out hundreds of runs."""
    monkeypatch.setattr(WellSince, "must_hold_ms", 500.0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("raising", [KeyboardInterrupt, Stop, WorldError])
def test_whatever_ends_a_run_at_whatever_event_it_is_healed(raising: type[BaseException]) -> None:
    for at in range(_events_of_a_whole_run()):
        world, undos = fake_world(), FakeUndos()
        recorder = FakeRecorder(world, at=at, raising=raising)
        with suppress(KeyboardInterrupt, RunFailed):
            execute(plan(ALL_FAULTS), context(world, recorder, undos))

        def world_of(project: str, world: World = world) -> World:
            return world

        left = heal_pending(undos, discover(), world_of, lambda record: False)
        assert healthy(world), f"interrupted at event {at}, {recorder.events[at].kind}"
        assert not undos.records, left


def test_a_fault_that_misses_is_void_and_healed() -> None:
    world, undos = fake_world(deaf={"qdrant", "mcp"}), FakeUndos()
    recorder = FakeRecorder(world)
    execute(
        plan([("kill", {"target": "qdrant"}), ("cpu_cap", {"target": "mcp"})]),
        context(world, recorder, undos),
    )
    assert recorder.kinds().count("fault_void") == 2
    assert "fault_in_force" not in recorder.kinds()
    assert healthy(world) and not undos.records


def test_a_disabled_proxy_voids_latency_before_anything_is_touched() -> None:
    world, undos = fake_world(disabled={"qdrant"}), FakeUndos()
    recorder = FakeRecorder(world)
    execute(plan([("latency", {"target": "qdrant"})]), context(world, recorder, undos))
    assert "fault_void" in recorder.kinds() and "fault_injecting" not in recorder.kinds()
    assert not undos.records


def test_a_target_that_never_recovers_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world, undos = fake_world(), FakeUndos()
    recorder = FakeRecorder(world)
    team = context(world, recorder, undos)
    bad = [Probe(0, 5000, "list", "transport", "refused")]
    monkeypatch.setattr(team.recent, "since", lambda from_ms: Samples(probes=Rows(bad)))
    execute(plan([("latency", {"target": "qdrant"})]), team)
    settled = next(e for e in recorder.events if e.kind == "settled")
    healed = next(e for e in recorder.events if e.kind == "fault_healed")
    assert settled.data["recovered"] is False
    assert 60_000 <= settled.at_ms - healed.at_ms <= 70_000


def test_heal_leaves_a_live_run_alone_and_forgets_a_vanished_stack() -> None:
    world, undos = fake_world(), FakeUndos()
    recorder = FakeRecorder(world, at=None)
    team = context(world, recorder, undos)
    fault = team.build(plan([("latency", {"target": "qdrant"})]).faults()[0])
    undo = fault.prepare(world)
    undos.record(UndoRecord("run", "f1", "latency", "project", 1, 1.0, undo))
    fault.inject(world, undo)
    assert [h.outcome for h in heal_pending(undos, discover(), lambda p: world, lambda r: True)] == ["live"]
    assert world.proxies.toxics("qdrant") and undos.records
    assert [h.outcome for h in heal_pending(undos, discover(), lambda p: None, lambda r: False)] == ["gone"]
    assert not undos.records


@pytest.mark.usefixtures("quick")
def test_a_journal_that_cannot_be_written_any_more_does_not_keep_a_fault_from_healing() -> None:
    """As on a full disk: from one event on nothing can be recorded; what is in force is healed all the same."""
    for at in range(_events_of_a_whole_run()):
        world, undos = fake_world(), FakeUndos()
        recorder = FakeRecorder(world, at=at, raising=WorldError, for_good=True)
        with pytest.raises(RunFailed):
            execute(plan(ALL_FAULTS), context(world, recorder, undos))
        assert healthy(world), f"journal broken from event {at}, {recorder.events[at].kind}"
        assert not undos.records


def test_faults_of_one_step_are_in_force_together_and_healed_in_reverse() -> None:
    world, undos = fake_world(), FakeUndos()
    recorder = FakeRecorder(world)
    step = [("latency", EXAMPLES["latency"]), ("cpu_cap", EXAMPLES["cpu_cap"])]
    assert execute(plan_of([step]), context(world, recorder, undos))
    told = [
        (e.kind, e.data["fault"]) for e in recorder.events if e.kind in ("fault_injected", "fault_healed")
    ]
    assert told == [
        ("fault_injected", "f1-latency"),
        ("fault_injected", "f1-cpu_cap"),
        ("fault_healed", "f1-cpu_cap"),
        ("fault_healed", "f1-latency"),
    ]
    assert recorder.kinds().count("fault_in_force") == 2 and healthy(world) and not undos.records


def test_without_a_living_guardian_nothing_is_injected() -> None:
    world, undos = fake_world(), FakeUndos()
    recorder = FakeRecorder(world)
    execute(
        plan([("kill", {"target": "qdrant"})]),
        replace(context(world, recorder, undos), guard=FakeGuard(dead=True)),
    )
    assert "fault_void" in recorder.kinds() and "fault_injecting" not in recorder.kinds()


def test_a_run_that_was_fenced_neither_injects_nor_heals() -> None:
    world, undos = fake_world(), FakeUndos()
    recorder = FakeRecorder(world)
    with pytest.raises(RunFailed, match="taken over"):
        execute(
            plan([("kill", {"target": "qdrant"})]),
            replace(context(world, recorder, undos), guard=FakeGuard(fenced=True)),
        )
    assert "fault_injected" not in recorder.kinds() and "fault_healed" not in recorder.kinds()
    assert set(undos.records) == {"run", "f1-kill"}


def test_a_tripped_watchdog_is_told_from_the_user() -> None:
    for why, kind in ((None, "interrupted"), ("free disk", "aborted")):
        world = fake_world()
        recorder = FakeRecorder(world, at=12)
        execute(
            plan([("kill", {"target": "qdrant"})]),
            replace(context(world, recorder, FakeUndos()), watchdog=FakeWatchdog(why=why)),
        )
        assert kind in recorder.kinds() and healthy(world)


TWO = [("latency", {"target": "qdrant"}), ("kill", {"target": "qdrant"})]


def _times(recorder: FakeRecorder, kind: str) -> list[float]:
    return [event.at_ms for event in recorder.events if event.kind == kind]


@pytest.mark.parametrize(("dies_ms", "injected"), [(3_000, 0), (12_000, 1), (18_000, 1), (70_000, 2)])
def test_a_guardian_that_dies_is_noted_once_and_nothing_more_is_injected(
    dies_ms: float, injected: int
) -> None:
    """In the calm before, while the first fault holds, while the target recovers, and in the calm at the end."""
    world, undos = fake_world(), FakeUndos()
    recorder = FakeRecorder(world)
    guard = FakeGuard(dies_ms=dies_ms, clock=world.clock)
    execute(plan(TWO), replace(context(world, recorder, undos), guard=guard))
    lost = _times(recorder, "guardian_lost")
    assert len(lost) == 1 and dies_ms <= lost[0] <= dies_ms + 500
    assert len(_times(recorder, "fault_injecting")) == injected
    assert all(at < dies_ms for at in _times(recorder, "fault_injecting"))
    assert recorder.kinds().count("fault_void") == len(TWO) - injected
    assert recorder.kinds().count("fault_healed") == injected
    assert healthy(world) and not undos.records


def test_a_fault_is_not_held_without_a_guardian() -> None:
    held = []
    for dies_ms in (12_000.0, float("inf")):
        world = fake_world()
        recorder = FakeRecorder(world)
        guard = FakeGuard(dies_ms=dies_ms, clock=world.clock)
        assert execute(plan(TWO[:1]), replace(context(world, recorder, FakeUndos()), guard=guard))
        held.append(_times(recorder, "fault_healed")[0] - _times(recorder, "fault_injected")[0])
        assert ("guardian_lost" in recorder.kinds()) is (dies_ms == 12_000)
    assert held[0] < 3_000 and held[1] >= 5_000


def test_what_somebody_took_away_ends_the_run_and_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    world, undos = fake_world(), FakeUndos()
    recorder = FakeRecorder(world)
    sleep_s, containers = world.clock.sleep_s, world.containers
    assert isinstance(containers, FakeContainers)

    def replaced(seconds: float) -> None:
        sleep_s(seconds)
        if "fault_in_force" in recorder.kinds():
            containers.states["qdrant"] = replace(containers.states["qdrant"], id="another")

    monkeypatch.setattr(world.clock, "sleep_s", replaced)
    kill = ("kill", {"target": "qdrant"})
    assert not execute(plan([kill, kill]), context(world, recorder, undos))
    kinds = recorder.kinds()
    assert kinds.count("heal_failed") == 1 and "fault_healed" not in kinds
    assert kinds[-1] == "aborted" and "taken away" in recorder.events[-1].data["why"]
    assert kinds.count("fault_injecting") == 1 and not undos.records
    assert not containers.states["qdrant"].running, "what is not ours was not started"


@pytest.mark.parametrize(("for_s", "ends"), [(5.0, True), (100.0, False)])
def test_an_engine_that_is_away_is_waited_for_and_then_the_run_ends(
    monkeypatch: pytest.MonkeyPatch, for_s: float, ends: bool
) -> None:
    world, undos = fake_world(), FakeUndos()
    recorder = FakeRecorder(world)
    start = world.containers.start

    def away(service: str, container_id: str) -> None:
        if world.clock.now_ms() < _times(recorder, "fault_injected")[0] + 5_000 + for_s * 1000:
            raise WorldError("the Docker engine does not answer")
        start(service, container_id)

    monkeypatch.setattr(world.containers, "start", away)
    kill = ("kill", {"target": "qdrant"})
    assert execute(plan([kill]), context(world, recorder, undos)) is ends
    assert "heal_failed" in recorder.kinds()
    assert ("aborted" in recorder.kinds()) is not ends
    assert set(undos.records) == (set() if ends else {"f1-kill"}), "what is not healed stays pending"


def test_a_bug_in_one_heal_does_not_keep_the_others_from_being_healed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, undos = fake_world(), FakeUndos()
    step = [("latency", EXAMPLES["latency"]), ("cpu_cap", EXAMPLES["cpu_cap"])]
    quota = world.containers.set_cpu_quota

    def broken(service: str, container_id: str, wanted: CpuQuota) -> None:
        if wanted.quota_us < 0:
            raise KeyError("a bug")
        quota(service, container_id, wanted)

    monkeypatch.setattr(world.containers, "set_cpu_quota", broken)
    recorder = FakeRecorder(world)
    assert not execute(plan_of([step]), context(world, recorder, undos))
    assert not world.proxies.toxics("qdrant")
    assert set(undos.records) == {"f1-cpu_cap"}, "what could not be healed is named and pending"
    aborted = next(event for event in recorder.events if event.kind == "aborted")
    assert "f1-cpu_cap could not be healed" in aborted.data["why"]
    found = [event for event in recorder.events if event.kind == "lab_error"]
    assert len(found) == 1 and found[0].data["error"] == "KeyError", "said once, however often it was tried"


def test_the_same_bug_in_the_work_on_two_faults_is_journalled_for_each() -> None:
    nothing: dict[str, str] = {}
    world, caught = fake_world(), attempt(lambda: nothing["missing"])
    assert isinstance(caught, Caught)
    recorder = FakeRecorder(world)
    parts, state = context(world, recorder, FakeUndos()), RunState()
    for fault in ("f1-kill", "f2-kill", "f1-kill"):
        report_error(parts, state, "heal", caught, fault=fault)
    for _ in range(2):
        report_error(parts, state, "heal", caught)
    assert [event.data.get("fault") for event in recorder.events] == ["f1-kill", "f2-kill", None]


def test_what_happened_to_the_clocks_is_journalled_while_the_run_waits() -> None:
    world = fake_world()
    recorder, jumps = FakeRecorder(world), [ClockJump("clock_stepped", -400.0, 7.0)]
    parts = replace(context(world, recorder, FakeUndos()), clock_jumps=lambda: [jumps.pop()] if jumps else [])
    assert execute(plan([]), parts)
    found = [event.data for event in recorder.events if event.kind == "clock_stepped"]
    assert found == [{"by_ms": -400.0, "from_ms": 7.0}]


def test_each_effect_is_preceded_by_a_look_at_the_fence_and_by_its_line() -> None:
    world = fake_world()
    recorder, guard = FakeRecorder(world), FakeGuard()
    audit = fenced_audit(guard, recorder)
    audit("killed", "qdrant", "")
    assert guard.checks == 1 and recorder.events[-1].data == {"act": "killed", "on": "qdrant", "detail": ""}
    full = FakeRecorder(world, at=0, raising=WorldError, for_good=True)
    fenced_audit(guard, full)("removed toxic", "proxy qdrant", "")
    guard.fenced = True
    with pytest.raises(FencedError):
        audit("killed", "qdrant", "")
    assert recorder.kinds() == ["effect"], "what was not done is not told"
