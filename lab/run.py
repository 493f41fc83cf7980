"""Carries out a plan: one loop over its steps, that heals in reverse on every exit.

The only module that may catch everything: whatever ends a run, its faults are healed first and the journal says why.
"""

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType

from lab.errors import FaultError, WorldError
from lab.judge.recovered import CANARY, held_since
from lab.model.plan import FAULT, Plan, PlannedFault, Step
from lab.model.undo import UndoRecord, to_json
from lab.ports import Fault, LoadGenerator, Observation, Observer, Recorder, UndoStore, World

TICK_S = 0.25
PROOF_TIMEOUT_S = 10.0
GONE_TIMEOUT_S = 45.0
RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Crew:
    """Everything that takes part in one run beside the plan."""

    run_id: str
    project: str
    process: tuple[int, float]
    world: World
    recorder: Recorder
    undos: UndoStore
    load: LoadGenerator
    observer: Observer
    build: Callable[[PlannedFault], Fault]
    deaths: Callable[[], list[tuple[str, str]]]
    wall_step_ms: Callable[[], float | None]


@dataclass(slots=True)
class _InForce:
    """A fault whose undo is on disk and not yet carried out."""

    planned: PlannedFault
    fault: Fault
    record: UndoRecord


@dataclass(slots=True)
class _State:
    pending: list[_InForce] = field(default_factory=list)
    reported: set[tuple[str, str]] = field(default_factory=set)


def execute(plan: Plan, crew: Crew) -> bool:
    """Run every step; returns True when the plan was carried out to its end.

    On Ctrl-C or SIGTERM the rest is left out, on any error too (re-raised after healing); always heals, in reverse.
    """
    state = _State()
    finished = False
    with _interruptible():
        try:
            crew.observer.start()
            crew.load.start()
            for step in plan.steps:
                _step(step, plan, crew, state)
            finished = True
        except KeyboardInterrupt:
            _note(crew, "interrupted", why="stopped by the user (Ctrl-C or SIGTERM)")
        except Exception as error:
            _note(crew, "lab_failed", why=f"{type(error).__name__}: {error}")
            raise
        finally:
            with _uninterruptible(), ExitStack() as last:
                last.callback(_note_deaths, crew, state)
                last.callback(crew.observer.stop)
                last.callback(crew.load.stop)
                _heal_all(crew, state)
    return finished


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM is treated as Ctrl-C, so that a supervisor's stop heals as well."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _uninterruptible() -> Iterator[None]:
    """While healing, further Ctrl-C are ignored: half a heal is what nobody wants."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _step(step: Step, plan: Plan, crew: Crew, state: _State) -> None:
    crew.recorder.record("phase_started", durable=True, phase=step.kind, step=step.name)
    if step.kind == FAULT and step.fault is not None:
        _fault_step(step.fault, plan, crew, state)
    else:
        _pass_time(step.duration_s, crew, state)
    crew.recorder.record("phase_ended", durable=True, phase=step.kind, step=step.name)


def _pass_time(seconds: float, crew: Crew, state: _State, until: Callable[[], bool] = lambda: False) -> bool:
    """Let time pass while watching the samplers and the clock; True as soon as `until` holds, False at the end."""
    end_ms = crew.world.clock.now_ms() + seconds * 1000
    while (left_ms := end_ms - crew.world.clock.now_ms()) > 0:
        if until():
            return True
        _note_deaths(crew, state)
        if (step_ms := crew.wall_step_ms()) is not None:
            crew.recorder.record("clock_stepped", by_ms=step_ms)
        crew.world.clock.sleep_s(min(TICK_S, left_ms / 1000))
    return until()


def _note_deaths(crew: Crew, state: _State) -> None:
    for sampler, why in crew.deaths():
        if (sampler, why) not in state.reported:
            state.reported.add((sampler, why))
            crew.recorder.record("sampler_died", durable=True, sampler=sampler, why=why)


def _fault_step(planned: PlannedFault, plan: Plan, crew: Crew, state: _State) -> None:
    fault = crew.build(planned)
    try:
        before = _look_until(planned, fault, crew, state, "before", None)
        if not before.absent:
            raise FaultError(f"an effect like {planned.kind}'s is there already: {before.detail}")
        in_force = _inject(planned, fault, crew, state)
    except FaultError as error:
        crew.recorder.record("fault_void", durable=True, fault=planned.id, why=str(error))
        _heal_all(crew, state)
        return
    _prove(in_force, before, crew, state)
    _pass_time(planned.hold_s, crew, state)
    _look_until(planned, fault, crew, state, "still", before)
    _heal(in_force, crew, state)
    _settle(in_force, before, plan, crew, state)


def _look(
    planned: PlannedFault, fault: Fault, crew: Crew, moment: str, before: Observation | None
) -> Observation:
    try:
        seen = fault.observe(crew.world, before)
    except (FaultError, WorldError) as error:
        seen = Observation(
            float("nan"), "", holds=False, absent=False, detail=f"could not be observed: {error}"
        )
    finite = seen.measured if math.isfinite(seen.measured) else None
    crew.recorder.record(
        "proof",
        fault=planned.id,
        moment=moment,
        measured=finite,
        unit=seen.unit,
        holds=seen.holds,
        absent=seen.absent,
        detail=seen.detail,
    )
    return seen


def _inject(planned: PlannedFault, fault: Fault, crew: Crew, state: _State) -> _InForce:
    undo = fault.prepare(crew.world)
    pid, started = crew.process
    record = UndoRecord(crew.run_id, planned.id, planned.kind, crew.project, pid, started, undo)
    in_force = _InForce(planned, fault, record)
    # In this order an interrupt at any point heals too much rather than too little, and healing is idempotent.
    state.pending.append(in_force)
    crew.undos.record(record)
    crew.observer.watch_closely(True)
    crew.recorder.record(
        "fault_injecting",
        durable=True,
        fault=planned.id,
        fault_kind=planned.kind,
        target=planned.target,
        params=dict(planned.params),
        undo=to_json(record)["undo"],
    )
    fault.inject(crew.world, undo)
    crew.recorder.record("fault_injected", fault=planned.id)
    return in_force


def _look_until(
    planned: PlannedFault, fault: Fault, crew: Crew, state: _State, moment: str, before: Observation | None
) -> Observation:
    """Look until what the moment wants is seen, for a few seconds: one look can be spoilt by a busy machine."""
    give_up_ms = crew.world.clock.now_ms() + PROOF_TIMEOUT_S * 1000
    while True:
        seen = _look(planned, fault, crew, moment, before)
        wanted = seen.absent if before is None else seen.holds
        if wanted or crew.world.clock.now_ms() > give_up_ms:
            return seen
        _pass_time(RETRY_S, crew, state)


def _prove(in_force: _InForce, before: Observation, crew: Crew, state: _State) -> None:
    """See the fault in force; one that never is stays void, and the run goes on to heal it."""
    planned = in_force.planned
    seen = _look_until(planned, in_force.fault, crew, state, "during", before)
    if seen.holds:
        crew.recorder.record("fault_in_force", fault=planned.id)
        return
    why = f"never seen in force within {PROOF_TIMEOUT_S:g} s: {seen.measured:.4g} {seen.unit}; {seen.detail}"
    crew.recorder.record("fault_void", durable=True, fault=planned.id, why=why)


def _heal(in_force: _InForce, crew: Crew, state: _State) -> None:
    """Heal, look, then record; an undo whose heal failed stays on disk for `lab heal`."""
    planned = in_force.planned
    _note(crew, "fault_healing", fault=planned.id)
    try:
        in_force.fault.heal(crew.world, in_force.record.undo)
    except (FaultError, WorldError) as error:
        _note(crew, "heal_failed", fault=planned.id, why=str(error))
        return
    _note(crew, "fault_healed", fault=planned.id)
    crew.undos.done(crew.run_id, planned.id)
    state.pending.remove(in_force)


def _note(crew: Crew, kind: str, **data: str) -> None:
    """Record, but let a journal that cannot be written (a full disk, say) never stand in the way of a heal.

    Such a run has no end in its journal, and the judge passes no run without one.
    """
    try:
        crew.recorder.record(kind, durable=True, **data)
    except WorldError:
        return


def _heal_all(crew: Crew, state: _State) -> None:
    for in_force in reversed(list(state.pending)):
        _heal(in_force, crew, state)
    crew.observer.watch_closely(False)


def _settle(in_force: _InForce, before: Observation, plan: Plan, crew: Crew, state: _State) -> None:
    """See the effect gone, then wait until the target has recovered and held, or its time is up."""
    planned, clock = in_force.planned, crew.world.clock
    healed_ms = clock.now_ms()
    give_up_ms = healed_ms + planned.recovery_max_s * 1000

    def gone() -> bool:
        return _look(planned, in_force.fault, crew, "after", before).absent

    _pass_time(min(GONE_TIMEOUT_S, planned.recovery_max_s), crew, state, gone)

    def held() -> bool:
        since_ms = held_since(crew.observer.recent_probes(healed_ms), plan.observer, healed_ms)
        crew.observer.watch_closely(since_ms is None)
        return since_ms is not None and clock.now_ms() - since_ms >= CANARY.hold_ms

    recovered = _pass_time((give_up_ms - clock.now_ms()) / 1000, crew, state, held)
    crew.observer.watch_closely(False)
    crew.recorder.record("settled", fault=planned.id, recovered=recovered)
