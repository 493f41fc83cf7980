"""Who takes part in a run, what it knows while it goes on, and how it lets time pass."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lab.boundary import Caught, attempt
from lab.model.plan import PlannedFault
from lab.model.samples import STREAMS_OF_SAMPLER, TABLES
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
    """A fault whose undo is on disk; `before` is what was measured of its effect before the injection.

    `healed` once its heal succeeded: only the removal of its undo from disk may then still have to be tried again.
    """

    planned: PlannedFault
    fault: Fault
    before: Observation
    record: UndoRecord
    healed: bool = False


@dataclass(slots=True)
class State:
    """What is in force, in the order of injection, and which incidents were reported.

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
        _note_clock_step(crew, state)
        crew.world.clock.sleep_s(min(TICK_S, left_ms / 1000))
    return until()


def note_deaths(crew: Crew, state: State) -> None:
    """Record each sampler that died since the last time, and once that the guardian did.

    One that cannot be asked whether it lives counts as dead.
    """
    if not state.unguarded:
        lost = attempt(crew.guard.lost)
        if isinstance(lost, Caught):
            lost = f"it cannot be asked whether it lives: {lost}"
        if lost is not None:
            state.unguarded = True
            crew.recorder.record("guardian_lost", durable=True, why=lost)
    deaths = attempt(crew.deaths)
    if isinstance(deaths, Caught):
        deaths = [("samplers", f"they cannot be asked whether they live: {deaths}")]
    for sampler, why in deaths:
        sampler_died(crew, state, sampler, why)


def sampler_died(crew: Crew, state: State, sampler: str, why: str) -> None:
    """Record the death of a sampler, once, with the streams that miss samples from now on."""
    if (sampler, why) not in state.reported:
        streams = STREAMS_OF_SAMPLER.get(sampler, TABLES)
        crew.recorder.record("sampler_died", durable=True, sampler=sampler, why=why, streams=list(streams))
        state.reported.add((sampler, why))


def _note_clock_step(crew: Crew, state: State) -> None:
    step_ms = attempt(crew.wall_step_ms)
    if isinstance(step_ms, Caught):
        sampler_died(crew, state, "wall_clock", str(step_ms))
    elif step_ms is not None:
        crew.recorder.record("clock_stepped", by_ms=step_ms)


def note(crew: Crew, kind: str, **data: str) -> None:
    """Record, but let a journal that cannot be written (a full disk, say) never stand in the way of a heal.

    An event that could not be written leaves a hole in the journal's numbers, and the judge passes no run with one.
    """
    attempt(lambda: crew.recorder.record(kind, durable=True, **data))


def note_error(crew: Crew, state: State, where: str, caught: Caught, **data: str) -> None:
    """Record an exception that nobody foresaw, once for each place; what follows from it is said by other events."""
    if caught.expected or (where, caught.place) in state.reported:
        return
    state.reported.add((where, caught.place))
    note(crew, "lab_error", where=where, **caught.facts(), **data)


def ask_closely(crew: Crew, state: State, closely: bool) -> None:
    """Set the canary's rate; where that fails the target is asked at the rate from before, and measured as asked."""
    done = attempt(lambda: crew.observer.watch_closely(closely))
    if isinstance(done, Caught):
        note_error(crew, state, "observer.watch_closely", done)
