"""Runs a plan step by step, and heals in reverse order on every exit.

Whatever ends a run, its faults are healed first and the journal says why. It raises nothing but RunFailed.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from lab.boundary import Caught, attempt
from lab.errors import FaultError, FencedError, RunFailed
from lab.model.lease import RETRY_S
from lab.model.plan import FAULT, STEADY, Plan, Step
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
from lab.run.recovered import WellSince

__all__ = ["RunContext", "execute", "uninterruptible"]

# How often a heal is tried once the run has ended; what stays is healed by the guardian, or by `lab heal`.
LAST_HEALS = 3


def execute(plan: Plan, context: RunContext) -> bool:
    """Run every step; returns True if the plan was carried out to its end.

    Ctrl-C, SIGTERM, a condition of `abort_if`, a fault that cannot be healed and any error of the lab end the run
    early. All faults are healed in any case. After an error of the lab this raises RunFailed.
    """
    state = RunState()
    failed: list[Caught] = []
    finished = False
    with _interruptible():
        try:
            ended = attempt(lambda: _run_steps(plan, context, state))
            finished = not isinstance(ended, Caught)
            if isinstance(ended, Caught) and not _aborted(ended, context):
                _fail(ended, context, state, failed)
        except KeyboardInterrupt:
            _record_interruption(context)
        finally:
            with uninterruptible(), ExitStack() as last:
                last.callback(_finish, context, state, failed)
                last.callback(_stop, "traffic", context.traffic.stop, context, state, failed)
                last.callback(_stop, "observer", context.observer.stop, context, state, failed)
                last.callback(_stop, "load", context.load.stop, context, state, failed)
                last.callback(_stop, "watchdog", context.watchdog.stop, context, state, failed)
                _heal_the_rest(context, state, failed)
    if failed:
        raise RunFailed(str(run_failed(failed[0]))) from failed[0].error
    return finished


def _run_steps(plan: Plan, context: RunContext, state: RunState) -> None:
    context.undos.record(_undo_of_the_run(context))
    context.observer.start()
    context.traffic.start()
    context.load.start(plan.steps[0].load if plan.steps else None)
    context.watchdog.start()
    well = WellSince(plan, context.recent)
    for step in plan.steps:
        _run_step(step, well, context, state)


def _aborted(ended: Caught, context: RunContext) -> bool:
    """True, with an `aborted` event, if the run ended because a fault could not be healed or its container is gone."""
    if not isinstance(ended.error, FaultError) or isinstance(ended.error, FencedError):
        return False
    record_best_effort(context, "aborted", why=str(ended))
    return True


def _fail(caught: Caught, context: RunContext, state: RunState, failed: list[Caught]) -> None:
    """Journal that the lab itself failed, with the error and its place."""
    report_error(context, state, "run", caught)
    record_best_effort(context, "lab_failed", why=str(caught))
    failed.append(caught)


def _heal_the_rest(context: RunContext, state: RunState, failed: list[Caught]) -> None:
    for number in range(LAST_HEALS):
        if number and state.pending:
            attempt(lambda: context.world.clock.sleep_s(RETRY_S))
        ended = attempt(lambda: heal_all(context, state))
        if isinstance(ended, Caught):
            if isinstance(ended.error, FencedError):
                # The guardian has taken over and heals.
                return
            _fail(ended, context, state, failed)
        if not state.pending:
            return


def _stop(
    what: str, stop: Callable[[], None], context: RunContext, state: RunState, failed: list[Caught]
) -> None:
    """Stop a sampler. One that cannot be stopped may have lost samples, so it counts as dead."""
    stopped = attempt(stop)
    if isinstance(stopped, Caught):
        report_error(context, state, f"{what}.stop", stopped)
        recorded = attempt(
            lambda: report_sampler_death(context, state, what, f"it could not be stopped: {stopped}")
        )
        if isinstance(recorded, Caught):
            _fail(recorded, context, state, failed)


def _record_interruption(context: RunContext) -> None:
    why = attempt(context.watchdog.tripped)
    if isinstance(why, str):
        record_best_effort(context, "aborted", why=why)
    else:
        record_best_effort(context, "interrupted", why="stopped by the user (Ctrl-C or SIGTERM)")


def _undo_of_the_run(context: RunContext) -> UndoRecord:
    """The undo of the whole run: it ends the load and the lab's processes if the run cannot do so itself."""
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


def _finish(context: RunContext, state: RunState, failed: list[Caught]) -> None:
    """Report the last deaths, check that the guardian did not take over, and remove the undo of the run itself."""
    ended = attempt(lambda: _report_and_forget(context, state))
    if isinstance(ended, Caught) and not (failed and isinstance(failed[0].error, FencedError)):
        _fail(ended, context, state, failed)


def _report_and_forget(context: RunContext, state: RunState) -> None:
    report_deaths(context, state)
    context.guard.check()
    context.undos.done(context.run_id, "run")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that a run that a supervisor stops heals too."""

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


def _run_step(step: Step, well: WellSince, context: RunContext, state: RunState) -> None:
    begins_ms = context.load.change_to(step.load)
    wait((begins_ms - context.world.clock.now_ms()) / 1000, context, state)
    context.recorder.record("phase_started", durable=True, phase=step.kind, step=step.name)
    from_ms = context.world.clock.now_ms()
    if step.kind == FAULT and step.faults:
        run_fault_step(step.faults, well, context, state)
    else:
        wait(step.duration_s, context, state)
    context.recorder.record("phase_ended", durable=True, phase=step.kind, step=step.name)
    if step.kind == STEADY:
        learned = attempt(lambda: well.add_steady(from_ms, context.world.clock.now_ms()))
        if isinstance(learned, Caught):
            report_error(context, state, "recent", learned)
