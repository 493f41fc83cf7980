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
from lab.run.context import (
    RunContext,
    RunState,
    record_best_effort,
    report_deaths,
    report_error,
    report_sampler_death,
    wait,
)
from lab.run.fault_step import run_fault_step
from lab.run.heal_faults import heal_all

__all__ = ["RunContext", "execute", "uninterruptible"]

# How often a heal is tried once the run has ended; what stays is healed by the guardian, or by `lab heal`.
LAST_HEALS = 3


def execute(plan: Plan, context: RunContext) -> bool:
    """Run every step; returns True when the plan was carried out to its end.

    On Ctrl-C, SIGTERM, a condition of `abort_if` or a fault that cannot be healed the rest is left out, on any error
    too (raised as RunFailed once all is healed); always heals, in reverse.
    """
    state = RunState()
    failed: list[Caught] = []
    finished = False
    with _interruptible():
        try:
            ended = attempt(lambda: _all_steps(plan, context, state))
            finished = not isinstance(ended, Caught)
            if isinstance(ended, Caught) and not _aborted(ended, context):
                _fail(ended, context, state, failed)
        except KeyboardInterrupt:
            _say_why(context)
        finally:
            with uninterruptible(), ExitStack() as last:
                last.callback(_end, context, state, failed)
                last.callback(_stop, "observer", context.observer.stop, context, state, failed)
                last.callback(_stop, "load", context.load.stop, context, state, failed)
                last.callback(_stop, "watchdog", context.watchdog.stop, context, state, failed)
                _heal_what_is_left(context, state, failed)
    if failed:
        raise RunFailed(str(run_failed(failed[0]))) from failed[0].error
    return finished


def _all_steps(plan: Plan, context: RunContext, state: RunState) -> None:
    context.undos.record(_belongings(context))
    context.observer.start()
    context.load.start(plan.steps[0].load if plan.steps else None)
    context.watchdog.start()
    for step in plan.steps:
        _step(step, plan, context, state)


def _aborted(ended: Caught, context: RunContext) -> bool:
    """Whether a fault that could not be healed, or was taken away, ended the run; then the journal says so."""
    if not isinstance(ended.error, FaultError) or isinstance(ended.error, FencedError):
        return False
    record_best_effort(context, "aborted", why=str(ended))
    return True


def _fail(caught: Caught, context: RunContext, state: RunState, failed: list[Caught]) -> None:
    """The lab itself failed: the journal says with what and where."""
    report_error(context, state, "run", caught)
    record_best_effort(context, "lab_failed", why=str(caught))
    failed.append(caught)


def _heal_what_is_left(context: RunContext, state: RunState, failed: list[Caught]) -> None:
    for number in range(LAST_HEALS):
        if number and state.pending:
            attempt(lambda: context.world.clock.sleep_s(RETRY_S))
        ended = attempt(lambda: heal_all(context, state))
        if isinstance(ended, Caught):
            if isinstance(ended.error, FencedError):
                # The guardian heals now.
                return
            _fail(ended, context, state, failed)
        if not state.pending:
            return


def _stop(
    what: str, stop: Callable[[], None], context: RunContext, state: RunState, failed: list[Caught]
) -> None:
    """Stop a sampler; one that cannot be stopped has lost samples, so it counts as dead."""
    stopped = attempt(stop)
    if isinstance(stopped, Caught):
        report_error(context, state, f"{what}.stop", stopped)
        recorded = attempt(
            lambda: report_sampler_death(context, state, what, f"it could not be stopped: {stopped}")
        )
        if isinstance(recorded, Caught):
            _fail(recorded, context, state, failed)


def _say_why(context: RunContext) -> None:
    why = attempt(context.watchdog.tripped)
    if isinstance(why, str):
        record_best_effort(context, "aborted", why=why)
    else:
        record_best_effort(context, "interrupted", why="stopped by the user (Ctrl-C or SIGTERM)")


def _belongings(context: RunContext) -> UndoRecord:
    """What must end with the run even when the run cannot do it itself: its load and its own processes."""
    pid, started = context.process
    guardian, guardian_started = context.guard.process
    undo = EndRun(context.run_id, context.project)
    return UndoRecord(
        context.run_id,
        "run",
        "",
        context.project,
        pid,
        started,
        undo,
        guardian,
        guardian_started,
        lease_until_s=0.0,
    )


def _end(context: RunContext, state: RunState, failed: list[Caught]) -> None:
    """What died and was not reported yet, whether the guardian took over, and the end of the run's own undo."""
    ended = attempt(lambda: _report_and_forget(context, state))
    if isinstance(ended, Caught) and not (failed and isinstance(failed[0].error, FencedError)):
        _fail(ended, context, state, failed)


def _report_and_forget(context: RunContext, state: RunState) -> None:
    report_deaths(context, state)
    context.guard.check()
    context.undos.done(context.run_id, "run")


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


def _step(step: Step, plan: Plan, context: RunContext, state: RunState) -> None:
    begins_ms = context.load.change_to(step.load)
    wait((begins_ms - context.world.clock.now_ms()) / 1000, context, state)
    context.recorder.record("phase_started", durable=True, phase=step.kind, step=step.name)
    if step.kind == FAULT and step.faults:
        run_fault_step(step.faults, plan, context, state)
    else:
        wait(step.duration_s, context, state)
    context.recorder.record("phase_ended", durable=True, phase=step.kind, step=step.name)
