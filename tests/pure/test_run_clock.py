"""The run's clock finds steps of the wall clock and suspensions, and the load's times are corrected by the steps."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.host.machine import wall_clock
from lab.load.chunk import Chunk, Stretch
from lab.load.chunk_schedule import ChunkSchedule
from lab.load.live_points import LivePoints
from lab.model.journal import CLOCK_STEPPED, LAB_STALLED, MACHINE_SUSPENDED, Event
from lab.observe.clock import ClockJump, RunClock
from lab.observe.time_watch import TimeWatch
from lab.provision.machine import doctor
from tests.pure.evidence_factory import LOAD

MS = 1_000_000


@dataclass
class Machine:
    """A machine whose clocks are set by hand; while it is `busy`, each reading of the monotonic clock takes 5 ms."""

    now_ns: int = 5_000_000_000
    wall_ahead_ns: int = 1_700_000_000_000_000_000
    asleep_ns: int = 0
    busy: bool = False

    def monotonic_ns(self) -> int:
        self.now_ns += 5 * MS if self.busy else 0
        return self.now_ns

    def clock(self) -> RunClock:
        return RunClock(
            self.monotonic_ns,
            lambda: self.now_ns + self.wall_ahead_ns + self.asleep_ns,
            lambda: self.now_ns + self.asleep_ns,
        )

    def passes(self, ms: float) -> None:
        self.now_ns += round(ms * MS)

    def steps(self, ms: float) -> None:
        self.wall_ahead_ns += round(ms * MS)


@dataclass
class Kept:
    """A recorder that keeps what it is told."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def record(self, kind: str, *, durable: bool = False, **data: Any) -> Event:
        self.events.append((kind, data))
        return Event(0, "run", 0.0, "", kind, data)


@pytest.mark.parametrize("by_ms", [400.0, -400.0, 51.0, -3_600_000.0])
def test_a_step_is_found_once_with_the_time_before_it(by_ms: float) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(1000)
    assert clock.jumps() == []
    machine.passes(20)
    machine.steps(by_ms)
    assert clock.jumps() == [ClockJump(CLOCK_STEPPED, by_ms, 1000.0)]
    assert clock.wall_steps(0.0) == ((1000.0, by_ms),)
    assert clock.wall_steps(1000.1) == ()
    machine.passes(20)
    assert clock.jumps() == []


def test_whoever_asks_for_the_steps_gets_one_that_nobody_has_found_yet() -> None:
    """Times of k6 that are read just after a step must not be taken for times before it."""
    machine = Machine()
    clock = machine.clock()
    machine.passes(1000)
    assert clock.jumps() == []
    machine.steps(400)
    assert clock.wall_steps(0.0) == ((1000.0, 400.0),)
    assert clock.jumps() == [ClockJump(CLOCK_STEPPED, 400.0, 1000.0)], "it is journalled all the same"
    assert clock.jumps() == []


def test_little_is_no_step_and_what_adds_up_is_one() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(5):
        machine.passes(100)
        machine.steps(10)
        assert clock.jumps() == []
    machine.passes(100)
    machine.steps(10)
    assert clock.jumps() == [ClockJump(CLOCK_STEPPED, 60.0, 500.0)]


def test_a_suspended_machine_is_told_from_a_step_of_the_wall_clock() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(1000)
    clock.jumps()
    machine.asleep_ns += 60_000 * MS
    found = clock.jumps()
    assert {jump.kind: jump.by_ms for jump in found} == {CLOCK_STEPPED: 60_000.0, MACHINE_SUSPENDED: 60_000.0}
    # The control: a wall clock that is set by as much suspends nothing.
    machine.steps(60_000)
    assert [jump.kind for jump in clock.jumps()] == [CLOCK_STEPPED]


def test_a_busy_machine_is_no_step_and_hides_none() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(1000)
    clock.jumps()
    machine.busy = True
    machine.steps(400)
    assert clock.jumps() == []
    machine.busy = False
    machine.passes(20)
    assert clock.jumps() == [ClockJump(CLOCK_STEPPED, 400.0, 1000.0)]


def test_the_machines_own_clocks_do_not_jump() -> None:
    clock = RunClock()
    assert [jump for _ in range(100) for jump in clock.jumps()] == []


@pytest.mark.parametrize(("late_ms", "journalled"), [(1001.0, True), (1000.0, False), (5.0, False)])
def test_a_long_stall_is_journalled_as_it_happens(late_ms: float, journalled: bool) -> None:
    machine, kept = Machine(), Kept()
    TimeWatch(machine.clock(), kept).beat(2000.0, 2000.0 + late_ms)
    stalls = [data for kind, data in kept.events if kind == LAB_STALLED]
    assert stalls == ([{"from_ms": 2000.0, "to_ms": 2000.0 + late_ms}] if journalled else [])


def test_a_beat_journals_a_step() -> None:
    machine, kept = Machine(), Kept()
    watch = TimeWatch(machine.clock(), kept)
    watch.beat(0.0, 0.0)
    machine.passes(20)
    machine.steps(-400)
    watch.beat(20.0, 20.0)
    assert kept.events == [(CLOCK_STEPPED, {"by_ms": -400.0, "from_ms": 0.0})]


def schedule(*steps: tuple[float, float]) -> ChunkSchedule:
    found = ChunkSchedule("0000", 1000.0, LOAD, LOAD.chunk(0), (), 1e12)
    found.know_steps(steps)
    return found


TIMES = [(10_000.0, 0), (29_500.0, 0), (30_500.0, 1), (59_500.0, 1), (60_500.0, 2), (9e4, 2)]


@pytest.mark.parametrize("by_ms", [400.0, -400.0])
def test_times_of_the_load_are_corrected_by_the_steps(by_ms: float) -> None:
    steps = schedule((30_000.0, by_ms), (60_000.0, by_ms))
    for at_ms, steps_before in TIMES:
        assert steps.run_ms(1e12 + at_ms + steps_before * by_ms) == at_ms
    assert schedule().run_ms(1e12 + 7.0) == 7.0


@pytest.mark.parametrize("by_ms", [400.0, -400.0])
def test_what_was_read_before_a_step_stays_as_it_was_read(by_ms: float) -> None:
    """Points are read while k6 writes them, and once more in the end: the two must agree."""
    chunk = schedule()
    walls = [1e12 + at_ms for at_ms in (10_000.0, 29_700.0, 29_999.0)]
    before = [chunk.run_ms(wall) for wall in walls]
    chunk.know_steps([(30_000.0, by_ms)])
    assert [chunk.run_ms(wall) for wall in walls] == before


def test_a_wall_clock_that_moved_unseen_is_no_small_matter() -> None:
    chunk = Chunk(schedule(), Stretch(LOAD, 1000.0), LivePoints(Path("nowhere"), schedule()))
    assert chunk.unexplained_ms(90.0) == 0.0
    assert chunk.unexplained_ms(-400.0) == -400.0
    chunk.schedule.know_steps([(30_000.0, -400.0)])
    assert chunk.unexplained_ms(-400.0) == 0.0
    assert chunk.unexplained_ms(0.0) == 400.0


@pytest.mark.parametrize(
    ("release", "known"),
    [
        ("5.15.153.1-microsoft-standard-WSL2", True),
        ("4.4.0-19041-Microsoft", True),
        ("6.1.0-18-amd64", False),
    ],
)
def test_wsl2_is_known_by_the_kernels_release(release: str, known: bool) -> None:
    assert wall_clock.is_wsl2(release) == known


@pytest.mark.parametrize(
    ("by_ms", "found_ms"), [(0.0, 0.0), (40.0, 0.0), (400.0, 400.0), (-400.0, 400.0), (-51.0, 51.0)]
)
def test_a_short_watch_finds_a_step_of_the_wall_clock(by_ms: float, found_ms: float) -> None:
    machine = Machine()

    def sleep_s(seconds: float) -> None:
        before_ns = machine.now_ns
        machine.passes(1000 * seconds)
        if before_ns < 6_000_000_000 <= machine.now_ns:
            machine.steps(by_ms)

    def wall_ns() -> int:
        return machine.now_ns + machine.wall_ahead_ns

    assert wall_clock.step_ms(2.0, wall_ns, machine.monotonic_ns, sleep_s) == found_ms


@pytest.mark.parametrize(
    ("moved_ms", "wsl2", "ok"), [(0.0, False, True), (400.0, False, False), (0.0, True, False)]
)
def test_the_doctor_warns_where_the_wall_clock_steps(
    moved_ms: float, wsl2: bool, ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wall_clock, "step_ms", lambda seconds: moved_ms)
    monkeypatch.setattr(wall_clock, "is_wsl2", lambda: wsl2)
    (found,) = [c for c in doctor.check_machine(watch_clock_s=2.0) if c.name == "wall_clock"]
    assert found.ok == ok
    assert bool(found.fix) != ok
