"""Heals the faults that are in force, in reverse order, with retries; what stays is pending on disk."""

from contextlib import ExitStack

from lab.boundary import Caught, attempt
from lab.errors import FaultError, FencedError, GoneError
from lab.guard.heal import require_own_toxiproxy
from lab.model.lease import HEAL_TIMEOUT_S, RETRY_S
from lab.run.context import (
    ActiveFault,
    RunContext,
    RunState,
    record_best_effort,
    report_error,
    set_canary_rate,
    wait,
)


def heal_all(context: RunContext, state: RunState, *, watch_closely: bool = False) -> None:
    """Heal all faults with a pending undo, in reverse order. If one heal raises, the others are still carried out."""
    with ExitStack() as reverse:
        reverse.callback(set_canary_rate, context, state, watch_closely)
        for in_force in state.pending:
            reverse.callback(_heal, in_force, context, state)


def heal_or_raise(context: RunContext, state: RunState, *, watch_closely: bool = False) -> None:
    """Heal all faults, with retries for HEAL_TIMEOUT_S; raises FaultError if one stays, or if its container is gone."""
    give_up_ms = context.world.clock.now_ms() + HEAL_TIMEOUT_S * 1000
    heal_all(context, state, watch_closely=watch_closely)
    while state.pending and context.world.clock.now_ms() < give_up_ms:
        wait(RETRY_S, context, state)
        heal_all(context, state, watch_closely=watch_closely)
    if state.gone:
        raise GoneError(
            "what a fault acted on was taken away by somebody else", last_state="; ".join(state.gone)
        )
    if state.pending:
        left = ", ".join(active.planned.id for active in state.pending)
        raise FaultError(f"{left} could not be healed, so nothing more can be measured", try_="`lab heal`")


def _heal(in_force: ActiveFault, context: RunContext, state: RunState) -> None:
    """Heal one fault and remove its undo. If either fails, the undo stays pending for a retry. Raises FencedError."""
    planned = in_force.planned
    if not in_force.healed and not _try_undo(in_force, context, state):
        return
    in_force.healed = True
    # An undo that stayed on disk would be carried out again later, perhaps while another fault is in force.
    forgotten = attempt(lambda: context.undos.done(context.run_id, planned.id))
    if isinstance(forgotten, Caught):
        why = f"healed, but its undo cannot be removed from disk: {forgotten}"
        record_best_effort(context, "heal_failed", fault=planned.id, why=why)
        report_error(context, state, "undos.done", forgotten, fault=planned.id)
        return
    state.pending.remove(in_force)
    released = attempt(lambda: context.guard.release(planned.id))
    if isinstance(released, Caught):
        report_error(context, state, "guard.release", released, fault=planned.id)


def _try_undo(in_force: ActiveFault, context: RunContext, state: RunState) -> bool:
    """Carry out the undo; True if that succeeded, or if the container that it acts on is gone."""
    planned, undo = in_force.planned, in_force.record.undo
    record_best_effort(context, "fault_healing", fault=planned.id)

    def heal() -> None:
        context.guard.check()
        require_own_toxiproxy(context.world, undo)
        in_force.fault.heal(context.world, undo)

    failed = attempt(heal)
    if not isinstance(failed, Caught):
        record_best_effort(context, "fault_healed", fault=planned.id)
        return True
    record_best_effort(context, "heal_failed", fault=planned.id, why=str(failed))
    report_error(context, state, "heal", failed, fault=planned.id)
    if isinstance(failed.error, FencedError):
        raise failed.error
    if isinstance(failed.error, GoneError):
        state.gone.append(f"{planned.id}: {failed.error.what}")
        return True
    return False
