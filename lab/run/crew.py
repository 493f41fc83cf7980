"""Who takes part in a run, what it knows while it goes on, and how it lets time pass."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lab.errors import WorldError
from lab.model.plan import PlannedFault
from lab.model.undo import UndoRecord
from lab.ports import Fault, Guard, LoadGenerator, Observation, Observer, Recorder, UndoStore, Watchdog, World

TICK_S = 0.25


@dataclass(frozen=True, slots=True)
class Crew:
    """Everything that takes part in one run beside the plan."""

    run_id: str
    project: str
    process: tuple[int, float]
    world: World
    recorder: Recorder
    undos: UndoStore
    guard: Guard
    watchdog: Watchdog
    load: LoadGenerator
    observer: Observer
    build: Callable[[PlannedFault], Fault]
    deaths: Callable[[], list[tuple[str, str]]]
    wall_step_ms: Callable[[], float | None]


@dataclass(slots=True)
class InForce:
    """A fault whose undo is on disk and not yet carried out; `before` is what was seen of its effect before."""

    planned: PlannedFault
    fault: Fault
    before: Observation
    record: UndoRecord


@dataclass(slots=True)
class State:
    """What is in force, in the order of injection, and which deaths were reported.

    `unguarded` once the guardian was found dead; `gone` says what somebody else took away under a fault.
    """

    pending: list[InForce] = field(default_factory=list)
    reported: set[tuple[str, str]] = field(default_factory=set)
    unguarded: bool = False
    gone: list[str] = field(default_factory=list)


def pass_time(seconds: float, crew: Crew, state: State, until: Callable[[], bool] = lambda: False) -> bool:
    """Let time pass while watching guardian, samplers and clock; True as soon as `until` holds, False at the end."""
    end_ms = crew.world.clock.now_ms() + seconds * 1000
    while (left_ms := end_ms - crew.world.clock.now_ms()) > 0:
        if until():
            return True
        note_deaths(crew, state)
        if (step_ms := crew.wall_step_ms()) is not None:
            crew.recorder.record("clock_stepped", by_ms=step_ms)
        crew.world.clock.sleep_s(min(TICK_S, left_ms / 1000))
    return until()


def note_deaths(crew: Crew, state: State) -> None:
    """Record each sampler that died since the last look, and once that the guardian did."""
    if not state.unguarded and (how := crew.guard.lost()) is not None:
        state.unguarded = True
        crew.recorder.record("guardian_lost", durable=True, why=how)
    for sampler, why in crew.deaths():
        if (sampler, why) not in state.reported:
            state.reported.add((sampler, why))
            crew.recorder.record("sampler_died", durable=True, sampler=sampler, why=why)


def note(crew: Crew, kind: str, **data: str) -> None:
    """Record, but let a journal that cannot be written (a full disk, say) never stand in the way of a heal.

    Such a run has no end in its journal, and the judge passes no run without one.
    """
    try:
        crew.recorder.record(kind, durable=True, **data)
    except WorldError:
        return
