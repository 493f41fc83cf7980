"""Carries out a plan: one loop over its steps, that heals in reverse on every exit.

The only module that may catch everything: whatever ends a run, its faults are healed first and the journal says why.
"""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from lab.errors import FaultError, FencedError
from lab.model.plan import FAULT, Plan, Step
from lab.model.undo import EndRun, UndoRecord
from lab.run.crew import Crew, State, note, note_deaths, pass_time
from lab.run.fault_step import carry_out, heal_all

__all__ = ["Crew", "execute"]


def execute(plan: Plan, crew: Crew) -> bool:
    """Run every step; returns True when the plan was carried out to its end.

    On Ctrl-C, SIGTERM, a condition of `abort_if` or a fault that cannot be healed the rest is left out, on any error
    too (re-raised after healing); always heals, in reverse.
    """
    state = State()
    finished = False
    with _interruptible():
        try:
            crew.undos.record(_belongings(crew))
            crew.observer.start()
            crew.load.start()
            crew.watchdog.start()
            for step in plan.steps:
                _step(step, plan, crew, state)
            finished = True
        except KeyboardInterrupt:
            _say_why(crew)
        except FencedError as error:
            note(crew, "lab_failed", why=str(error))
            raise
        except FaultError as error:
            note(crew, "aborted", why=str(error))
        except Exception as error:
            note(crew, "lab_failed", why=f"{type(error).__name__}: {error}")
            raise
        finally:
            with _uninterruptible(), ExitStack() as last:
                last.callback(_end, crew, state)
                last.callback(crew.observer.stop)
                last.callback(crew.load.stop)
                last.callback(crew.watchdog.stop)
                heal_all(crew, state)
    return finished


def _say_why(crew: Crew) -> None:
    if (why := crew.watchdog.tripped()) is not None:
        note(crew, "aborted", why=why)
    else:
        note(crew, "interrupted", why="stopped by the user (Ctrl-C or SIGTERM)")


def _belongings(crew: Crew) -> UndoRecord:
    """What must end with the run even when the run cannot do it itself: its load and its own processes."""
    pid, started = crew.process
    guardian, guardian_started = crew.guard.process
    undo = EndRun(crew.run_id, crew.project)
    return UndoRecord(
        crew.run_id,
        "run",
        "",
        crew.project,
        pid,
        started,
        undo,
        guardian,
        guardian_started,
        lease_until_s=0.0,
    )


def _end(crew: Crew, state: State) -> None:
    note_deaths(crew, state)
    try:
        crew.guard.check()
    except FencedError as error:
        note(crew, "lab_failed", why=str(error))
        return
    crew.undos.done(crew.run_id, "run")


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


def _step(step: Step, plan: Plan, crew: Crew, state: State) -> None:
    crew.recorder.record("phase_started", durable=True, phase=step.kind, step=step.name)
    if step.kind == FAULT and step.faults:
        carry_out(step.faults, plan, crew, state)
    else:
        pass_time(step.duration_s, crew, state)
    crew.recorder.record("phase_ended", durable=True, phase=step.kind, step=step.name)
