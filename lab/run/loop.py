"""Carries out a plan: one loop over its steps, that heals in reverse on every exit.

Whatever ends a run, its faults are healed first and the journal says why. No exception but RunFailed leaves it.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from lab.boundary import Caught, attempt
from lab.errors import FaultError, FencedError, RunFailed
from lab.model.lease import RETRY_S
from lab.model.plan import FAULT, Plan, Step
from lab.model.undo import EndRun, UndoRecord
from lab.run.closing import run_failed
from lab.run.crew import Crew, State, note, note_deaths, note_error, pass_time, sampler_died
from lab.run.fault_step import carry_out, heal_all

__all__ = ["Crew", "execute", "uninterruptible"]

# How often a heal is tried once the run has ended; what stays is healed by the guardian, or by `lab heal`.
LAST_HEALS = 3


def execute(plan: Plan, crew: Crew) -> bool:
    """Run every step; returns True when the plan was carried out to its end.

    On Ctrl-C, SIGTERM, a condition of `abort_if` or a fault that cannot be healed the rest is left out, on any error
    too (raised as RunFailed once all is healed); always heals, in reverse.
    """
    state = State()
    failed: list[Caught] = []
    finished = False
    with _interruptible():
        try:
            ended = attempt(lambda: _all_steps(plan, crew, state))
            finished = not isinstance(ended, Caught)
            if isinstance(ended, Caught) and not _aborted(ended, crew):
                _fail(ended, crew, state, failed)
        except KeyboardInterrupt:
            _say_why(crew)
        finally:
            with uninterruptible(), ExitStack() as last:
                last.callback(_end, crew, state, failed)
                last.callback(_stop, "observer", crew.observer.stop, crew, state, failed)
                last.callback(_stop, "load", crew.load.stop, crew, state, failed)
                last.callback(_stop, "watchdog", crew.watchdog.stop, crew, state, failed)
                _heal_what_is_left(crew, state, failed)
    if failed:
        raise RunFailed(str(run_failed(failed[0]))) from failed[0].error
    return finished


def _all_steps(plan: Plan, crew: Crew, state: State) -> None:
    crew.undos.record(_belongings(crew))
    crew.observer.start()
    crew.load.start(plan.steps[0].load if plan.steps else None)
    crew.watchdog.start()
    for step in plan.steps:
        _step(step, plan, crew, state)


def _aborted(ended: Caught, crew: Crew) -> bool:
    """Whether a fault that could not be healed, or was taken away, ended the run; then the journal says so."""
    if not isinstance(ended.error, FaultError) or isinstance(ended.error, FencedError):
        return False
    note(crew, "aborted", why=str(ended))
    return True


def _fail(caught: Caught, crew: Crew, state: State, failed: list[Caught]) -> None:
    """The lab itself failed: the journal says with what and where."""
    note_error(crew, state, "run", caught)
    note(crew, "lab_failed", why=str(caught))
    failed.append(caught)


def _heal_what_is_left(crew: Crew, state: State, failed: list[Caught]) -> None:
    for number in range(LAST_HEALS):
        if number and state.pending:
            attempt(lambda: crew.world.clock.sleep_s(RETRY_S))
        ended = attempt(lambda: heal_all(crew, state))
        if isinstance(ended, Caught):
            if isinstance(ended.error, FencedError):
                # The guardian heals now.
                return
            _fail(ended, crew, state, failed)
        if not state.pending:
            return


def _stop(what: str, stop: Callable[[], None], crew: Crew, state: State, failed: list[Caught]) -> None:
    """Stop a sampler; one that cannot be stopped has lost samples, so it counts as dead."""
    stopped = attempt(stop)
    if isinstance(stopped, Caught):
        note_error(crew, state, f"{what}.stop", stopped)
        recorded = attempt(lambda: sampler_died(crew, state, what, f"it could not be stopped: {stopped}"))
        if isinstance(recorded, Caught):
            _fail(recorded, crew, state, failed)


def _say_why(crew: Crew) -> None:
    why = attempt(crew.watchdog.tripped)
    if isinstance(why, str):
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


def _end(crew: Crew, state: State, failed: list[Caught]) -> None:
    """What died and was not reported yet, whether the guardian took over, and the end of the run's own undo."""
    ended = attempt(lambda: _report_and_forget(crew, state))
    if isinstance(ended, Caught) and not (failed and isinstance(failed[0].error, FencedError)):
        _fail(ended, crew, state, failed)


def _report_and_forget(crew: Crew, state: State) -> None:
    note_deaths(crew, state)
    crew.guard.check()
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
def uninterruptible() -> Iterator[None]:
    """Ignore further Ctrl-C and SIGTERM: a heal, or the end of the evidence, must not be left half done."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _step(step: Step, plan: Plan, crew: Crew, state: State) -> None:
    begins_ms = crew.load.change_to(step.load)
    pass_time((begins_ms - crew.world.clock.now_ms()) / 1000, crew, state)
    crew.recorder.record("phase_started", durable=True, phase=step.kind, step=step.name)
    if step.kind == FAULT and step.faults:
        carry_out(step.faults, plan, crew, state)
    else:
        pass_time(step.duration_s, crew, state)
    crew.recorder.record("phase_ended", durable=True, phase=step.kind, step=step.name)
