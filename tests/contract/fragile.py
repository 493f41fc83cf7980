"""A run in memory in which one effect, the n-th, raises whatever exception it is given, before or after it is done."""

import json
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from lab.boundary import Caught
from lab.errors import RunFailed
from lab.faults import discover
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import STEADY, Plan, PlannedFault
from lab.model.samples import HostReading, Layer, Memory, Probe, Recall, Request, Rows, Samples
from lab.ports import Fault, World
from lab.read.campaigns import build_fault
from lab.run.closing import close_all, record_failure
from lab.run.loop import execute
from tests.contract.fakes import fake_world
from tests.contract.run_fakes import FakeGuard, FakeUndos, context, plan_of


class Unforeseen(Exception):
    """Of no class that the lab knows."""


ERRORS: tuple[Callable[[], Exception], ...] = (
    lambda: OSError(5, "Input/output error", "/sys/fs/cgroup/memory.stat"),
    lambda: AttributeError("'NoneType' object has no attribute 'pid'"),
    lambda: subprocess.TimeoutExpired(["tc"], 5.0),
    lambda: ValueError("invalid literal for int()"),
    lambda: KeyError("State"),
    lambda: RuntimeError("dictionary changed size during iteration"),
    lambda: MemoryError(),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    lambda: Unforeseen("\udc80 and a second line\nof text"),
    lambda: StopIteration(),
    lambda: AssertionError(),
    lambda: RecursionError("maximum recursion depth exceeded"),
    lambda: sqlite3.OperationalError("database is locked"),
)


@dataclass
class Effects:
    """Counts every effect and raises at number `at` (from 1), before it is done or `after`; `raised_in` names it.

    `told` is the journal as it was when the error was raised.
    """

    at: int = 0
    error: Exception = field(default_factory=RuntimeError)
    after: bool = False
    count: int = 0
    raised_in: str = ""
    told: tuple[Event, ...] = ()
    journal: Callable[[], list[Event]] = list

    def have(self, name: str, effect: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        if self.count != self.at:
            return effect(*args, **kwargs)
        self.raised_in, self.told = name, tuple(self.journal())
        if self.after:
            effect(*args, **kwargs)
        raise self.error


class Fragile:
    """Anything of which each call is an effect that may raise."""

    def __init__(self, inner: Any, name: str, effects: Effects) -> None:
        self._inner, self._name, self._effects = inner, name, effects

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._inner, attribute)
        if not callable(value):
            return value
        return lambda *args, **kwargs: self._effects.have(f"{self._name}.{attribute}", value, *args, **kwargs)


class Journaling:
    """A journal in memory that consumes numbers as the real one does: an event that is not written leaves a hole."""

    def __init__(self, world: World, effects: Effects) -> None:
        self.events: list[Event] = []
        self.next_seq = 0
        self._world, self._effects = world, effects
        effects.journal = lambda: self.events

    def record(self, kind: str, *, durable: bool = False, **data: Any) -> Event:
        seq, self.next_seq = self.next_seq, self.next_seq + 1
        event = Event(seq, "run", self._world.clock.now_ms(), "", kind, data)
        self._effects.have(f"recorder.{kind}", self.events.append, event)
        return event

    def close(self) -> None:
        self._effects.have("recorder.close", lambda: None)


class Closable:
    """An engine log and a sample store that have nothing to close."""

    def stop(self, services: tuple[str, ...]) -> None: ...

    def close(self) -> dict[str, int]:
        return SAMPLES.counts()


SAMPLES = Samples(
    requests=Rows([Request(0, 0, 10, "list", True, Layer.OK, "", "0000")]),
    probes=Rows([Probe(0, 10, "list", "ok", "")]),
    recall=Rows([Recall(0, 10, "dense", "q", True, 10, 10, Layer.OK, "")]),
    memory=Rows([Memory(0, "mcp", None, "anon_bytes", 1)]),
    host=Rows([HostReading(0, "lab_cpu_s", 0.1)]),
)


@dataclass
class Ran:
    """A run as it ended: its world and its pending undos, what was written, and what the user is told."""

    plan: Plan
    world: World
    undos: FakeUndos
    events: list[Event]
    failures: list[Caught]
    finished: bool

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.plan, Journal(tuple(self.events)), SAMPLES)


@cache
def _fault(kind: str, target: str, params: str) -> Fault:
    given = {"target": target, **json.loads(params)}
    return build_fault(kind, given, where="test", faults=discover())


def _built(planned: PlannedFault) -> Fault:
    """As `context` builds it, but once for thousands of runs."""
    return _fault(planned.kind, planned.target, json.dumps(dict(planned.params)))


def short_plan(steps: list[list[tuple[str, dict[str, Any]]]]) -> Plan:
    """As little waiting as can be: half a second of calm around each step, faults held for half a second."""
    found = plan_of(steps)
    quick = []
    for step in found.steps:
        faults = tuple(replace(fault, hold_s=0.5, recovery_max_s=4.0) for fault in step.faults)
        quick.append(replace(step, duration_s=0.5 if step.kind == STEADY else step.duration_s, faults=faults))
    return replace(found, steps=tuple(quick))


def run(plan: Plan, effects: Effects) -> Ran:
    """Carry out a plan as a session does, from the first event to the last, with every effect fragile."""
    world, undos = fake_world(), FakeUndos()
    journal = Journaling(world, effects)
    target = {"name": plan.target.name, "version": plan.target.version}
    started = {"seed": plan.seed, "campaign": plan.campaign, "plan_sha256": "0", "target": target}
    journal.events.append(Event(0, "run", 0.0, "", "run_started", started))
    journal.next_seq = 1
    ports: dict[str, Any] = {
        port.name: Fragile(getattr(world, port.name), f"world.{port.name}", effects)
        for port in fields(World)
        if port.name != "topology"
    }
    parts = replace(context(world, None, undos), build=_built)  # type: ignore[arg-type]
    guard: Any = Fragile(FakeGuard(), "guard", effects)
    fragile: dict[str, Any] = {
        name: Fragile(getattr(parts, name), name, effects)
        for name in ("undos", "watchdog", "load", "observer", "traffic")
    }
    asked: dict[str, Any] = {
        name: getattr(Fragile(parts, "run", effects), name) for name in ("build", "deaths", "clock_jumps")
    }
    broken = replace(parts, world=replace(world, **ports), recorder=journal, guard=guard, **fragile, **asked)
    failures: list[Caught] = []
    finished = False
    try:
        finished = execute(plan, broken)
    except RunFailed as error:
        failures.append(Caught(error))
        record_failure(journal, failures[0])
    closable: Any = Closable()
    log, store = Fragile(closable, "log", effects), Fragile(closable, "store", effects)
    failures += close_all(journal, guard, log, store, ("mcp", "qdrant"))
    return Ran(plan, world, undos, journal.events, failures, finished)
