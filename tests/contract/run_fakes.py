"""What a run needs beside a world, in memory: recorder, undo store, load, observer, and a plan with one fault."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lab.errors import FaultError, FencedError
from lab.faults import discover
from lab.judge.checks import default_bounds
from lab.model.journal import Event
from lab.model.load import ConstantArrivalRate, LoadProfile
from lab.model.plan import FAULT, STEADY, ObserverPlan, Plan, PlannedFault, Step
from lab.model.samples import Probe, Rows, Samples
from lab.model.target import Condition, Operation, Target
from lab.model.undo import UndoRecord
from lab.ports import Clock, World
from lab.read.campaigns import build_fault
from lab.run.loop import RunContext


class Stop(Exception):
    """Raised by `FakeRecorder` in place of a bug somewhere in the run."""


@dataclass
class FakeRecorder:
    """Keeps events; raises `raising` at the event number `at`, and `for_good` at all that follow."""

    world: World
    at: int | None = None
    raising: type[BaseException] = KeyboardInterrupt
    for_good: bool = False
    events: list[Event] = field(default_factory=list)

    def record(self, kind: str, *, durable: bool = False, **data: Any) -> Event:
        event = Event(len(self.events), "run", self.world.clock.now_ms(), "", kind, data)
        self.events.append(event)
        if self.at is not None and (event.seq == self.at or (self.for_good and event.seq > self.at)):
            raise self.raising("planted")
        return event

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@dataclass
class FakeUndos:
    """Pending undos in a dict."""

    records: dict[str, UndoRecord] = field(default_factory=dict)

    def record(self, record: UndoRecord) -> None:
        self.records[record.fault_id] = record

    def done(self, run_id: str, fault_id: str) -> None:
        self.records.pop(fault_id, None)

    def pending(self) -> list[UndoRecord]:
        return list(self.records.values())


@dataclass
class FakeLoad:
    """Load that only knows whether it runs, and which loads it was to send; a change takes `change_ms`."""

    running: bool = False
    clock: Clock | None = None
    change_ms: float = 0.0
    loads: list[tuple[float, LoadProfile | None]] = field(default_factory=list)

    def start(self, load: LoadProfile | None = None) -> None:
        self.running = True
        self.loads = [(self._now_ms(), load)]

    def change_to(self, load: LoadProfile | None) -> float:
        if load == self.loads[-1][1]:
            return self._now_ms()
        self.loads.append((self._now_ms() + self.change_ms, load))
        return self.loads[-1][0]

    def _now_ms(self) -> float:
        return 0.0 if self.clock is None else self.clock.now_ms()

    def stop(self) -> None:
        self.running = False

    def died(self) -> list[tuple[str, str]]:
        return []


@dataclass
class FakeObserver(FakeLoad):
    """An observer that only knows at which rate its canary is."""

    closely: bool = False

    def watch_closely(self, closely: bool) -> None:
        self.closely = closely


@dataclass
class FakeRecent:
    """The newest rows: of a canary that is good whenever no fault of the fake world is in force."""

    world: World

    def since(self, from_ms: float) -> Samples:
        now = self.world.clock.now_ms()
        sent = [from_ms + 100 * n for n in range(int((now - from_ms) // 100))]
        return Samples(probes=Rows(Probe(at, at + 10, "list", "ok", "") for at in sent))


@dataclass
class FakeGuard:
    """A guardian that knows the leases; `dead` ones refuse any, a `fenced` one has taken over.

    With a clock it dies at that time in ms, and is found dead from then on.
    """

    dead: bool = False
    fenced: bool = False
    dies_ms: float = math.inf
    clock: Clock | None = None
    leases: dict[str, float] = field(default_factory=dict)
    checks: int = 0

    @property
    def process(self) -> tuple[int, float]:
        return (2, 2.0)

    def lost(self) -> str | None:
        if self.clock is not None and self.clock.now_ms() >= self.dies_ms:
            self.dead = True
            return "it ended (exit code -9)"
        return None

    def lease(self, fault_id: str, seconds: float) -> float:
        if self.dead:
            raise FaultError("the guardian is dead")
        self.leases[fault_id] = seconds
        return seconds

    def check(self) -> None:
        self.checks += 1
        if self.fenced:
            raise FencedError("the guardian has taken over")

    def release(self, fault_id: str) -> None:
        self.leases.pop(fault_id, None)

    def close(self) -> None:
        self.leases.clear()


@dataclass
class FakeWatchdog(FakeLoad):
    """A watchdog that trips when told."""

    why: str | None = None

    def tripped(self) -> str | None:
        return self.why


@dataclass
class FakeTraffic(FakeLoad):
    """A sampler of the target's connections that counts its readings; `raising` in place of each of them."""

    readings: int = 0
    raising: Exception | None = None

    def start(self) -> None:  # type: ignore[override]
        self.running = True

    def sample(self) -> None:
        self.readings += 1
        if self.raising is not None:
            raise self.raising


LOAD = LoadProfile("normal", "normal.js", ConstantArrivalRate(4), {"list": 100}, 500, 5, False, 10_000, 60)


def target() -> Target:
    """The smallest target that a plan can carry."""
    operation = Operation("list", "list", {}, "structured", (Condition(("error",), "absent"),))
    return Target(
        name="fake",
        version="1",
        endpoint="/mcp",
        protocol_version="2025-06-18",
        environment={},
        truth_collection="truth",
        writes_collection="writes",
        normal_rate_per_s=4,
        capacity_per_s=40,
        capacity_cpu_cores=1,
        start_timeout_s=10,
        request_timeout_ms=10_000,
        mix={"list": 100},
        operations={"list": operation},
        canary="list",
        recall="list",
        recall_mode="dense",
        add="list",
    )


def plan(faults: Iterable[tuple[str, dict[str, Any]]]) -> Plan:
    """Ten seconds of calm around each fault."""
    return plan_of([[fault] for fault in faults])


def plan_of(steps_of: Iterable[Sequence[tuple[str, dict[str, Any]]]]) -> Plan:
    """Ten seconds of calm around each step; the faults of one step are in force together."""
    steps = [Step("baseline", STEADY, 10)]
    for number, together in enumerate(steps_of, 1):
        faults = tuple(_planned(number, kind, params) for kind, params in together)
        steps += [Step(faults[0].id, FAULT, 45, faults), Step(f"clean-{number}", STEADY, 10)]
    return Plan(
        campaign="test",
        why="",
        seed=1,
        duration_s=100,
        steps=tuple(replace(step, load=LOAD) for step in steps),
        observer=ObserverPlan(2, 10, 2000, 200, 5, 1.5, 10, 5),
        bounds=default_bounds(),
        required=(),
        decisions=(),
        target=target(),
        documents=0,
        queries=0,
        corpus="",
    )


def _planned(number: int, kind: str, params: dict[str, Any]) -> PlannedFault:
    rest = {key: value for key, value in params.items() if key != "target"}
    return PlannedFault(f"f{number}-{kind}", kind, params["target"], rest, hold_s=5, recovery_max_s=65)


def context(world: World, recorder: FakeRecorder, undos: FakeUndos) -> RunContext:
    """A context of fakes around a world."""
    return RunContext(
        run_id="run",
        project="project",
        process=(1, 1.0),
        world=world,
        recorder=recorder,
        undos=undos,
        guard=FakeGuard(),
        watchdog=FakeWatchdog(),
        load=FakeLoad(),
        observer=FakeObserver(),
        recent=FakeRecent(world),
        traffic=FakeTraffic(),
        build=lambda planned: build_fault(
            planned.kind, {"target": planned.target, **planned.params}, where="test", faults=discover()
        ),
        deaths=list,
        clock_jumps=list,
    )
