"""What a run works with, what it knows while it goes on, and how it waits and reports."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lab.boundary import Caught, attempt
from lab.model.plan import PlannedFault
from lab.model.samples import STREAMS_OF_SAMPLER, TABLES
from lab.model.undo import UndoRecord
from lab.observe.clock import ClockJump
from lab.observe.time_watch import record_jump
from lab.ports import (
    Fault,
    Guard,
    LoadGenerator,
    Observation,
    Observer,
    Recent,
    Recorder,
    TrafficSampler,
    UndoStore,
    Watchdog,
    World,
)

TICK_S = 0.25


@dataclass(frozen=True, slots=True)
class RunContext:
    """Everything that one run works with beside its plan.

    `process` is the run's own process id and start time in clock ticks since boot. `build` makes the fault that a plan
    describes. `deaths` lists the samplers that died, with the reason. `clock_jumps` is what happened to the
    wall clock and to the machine's own time since it was last asked.
    """

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
    recent: Recent
    traffic: TrafficSampler
    build: Callable[[PlannedFault], Fault]
    deaths: Callable[[], list[tuple[str, str]]]
    clock_jumps: Callable[[], Sequence[ClockJump]]


@dataclass(slots=True)
class ActiveFault:
    """A fault whose undo is on disk; `before` is the observation of its effect before the injection.

    `healed` is set once its heal has succeeded. From then on only the removal of its undo from disk is tried again.
    """

    planned: PlannedFault
    fault: Fault
    before: Observation
    record: UndoRecord
    healed: bool = False


@dataclass(slots=True)
class RunState:
    """The faults whose undo is pending, in the order of injection, and the incidents that were reported.

    `unguarded` is set once the guardian was found dead. `gone` names the faults whose container somebody else removed.
    """

    pending: list[ActiveFault] = field(default_factory=list)
    reported: set[tuple[str, ...]] = field(default_factory=set)
    unguarded: bool = False
    gone: list[str] = field(default_factory=list)


def wait(
    seconds: float, context: RunContext, state: RunState, until: Callable[[], bool] = lambda: False
) -> bool:
    """Wait, and report meanwhile what happens to guardian, samplers and clock. True as soon as `until` is true."""
    end_ms = context.world.clock.now_ms() + seconds * 1000
    while (left_ms := end_ms - context.world.clock.now_ms()) > 0:
        if until():
            return True
        report_deaths(context, state)
        _report_clock_jumps(context, state)
        context.world.clock.sleep_s(min(TICK_S, left_ms / 1000))
    return until()


def report_deaths(context: RunContext, state: RunState) -> None:
    """Journal each sampler that died since the last call, and once the death of the guardian.

    A sampler or guardian that cannot be asked whether it lives counts as dead.
    """
    if not state.unguarded:
        lost = attempt(context.guard.lost)
        if isinstance(lost, Caught):
            lost = f"it cannot be asked whether it lives: {lost}"
        if lost is not None:
            state.unguarded = True
            context.recorder.record("guardian_lost", durable=True, why=lost)
    deaths = attempt(context.deaths)
    if isinstance(deaths, Caught):
        deaths = [("samplers", f"they cannot be asked whether they live: {deaths}")]
    for sampler, why in deaths:
        report_sampler_death(context, state, sampler, why)


def report_sampler_death(context: RunContext, state: RunState, sampler: str, why: str) -> None:
    """Journal the death of a sampler once, with the streams that may miss samples from now on."""
    if (sampler, why) not in state.reported:
        streams = STREAMS_OF_SAMPLER.get(sampler, TABLES)
        context.recorder.record("sampler_died", durable=True, sampler=sampler, why=why, streams=list(streams))
        state.reported.add((sampler, why))


def _report_clock_jumps(context: RunContext, state: RunState) -> None:
    jumps = attempt(context.clock_jumps)
    if isinstance(jumps, Caught):
        report_sampler_death(context, state, "wall_clock", str(jumps))
        return
    for jump in jumps:
        record_jump(context.recorder, jump)


def record_best_effort(context: RunContext, kind: str, **data: str) -> None:
    """Journal an event if the journal can be written; a full disk, for example, must not prevent a heal.

    An event that could not be written leaves a gap in the sequence numbers, and the judge passes no run with a gap.
    """
    attempt(lambda: context.recorder.record(kind, durable=True, **data))


def report_error(context: RunContext, state: RunState, where: str, caught: Caught, **data: str) -> None:
    """Journal an unexpected exception, once per place and fault. What follows from it stands in events of their own.

    One with a `fault` among its data makes undecided the step of that fault, and any other one the whole run.
    """
    key = (where, caught.place, data.get("fault", ""))
    if caught.expected or key in state.reported:
        return
    state.reported.add(key)
    record_best_effort(context, "lab_error", where=where, **caught.facts(), **data)


def set_canary_rate(context: RunContext, state: RunState, closely: bool) -> None:
    """Set the canary to its fast or slow rate; if that fails, the canary goes on at the rate it has."""
    done = attempt(lambda: context.observer.watch_closely(closely))
    if isinstance(done, Caught):
        report_error(context, state, "observer.watch_closely", done)


def sample_traffic(context: RunContext, state: RunState) -> None:
    """Read the target's own connections now, around a fault; if that fails, the fault is not proven on them."""
    done = attempt(context.traffic.sample)
    if isinstance(done, Caught):
        report_error(context, state, "traffic.sample", done)
