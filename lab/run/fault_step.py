"""Runs one fault step: observe absent, inject, prove, keep in force, heal in reverse, observe absent, await recovery.

Whatever an adapter raises becomes an observation that could not be made, a void fault or a failed heal. Only a journal
that cannot be written, a broken clock and the guardian's fence end the run.
"""

import math
from collections.abc import Sequence

from lab.boundary import Caught, attempt
from lab.errors import FencedError
from lab.model.lease import PROOF_TIMEOUT_S, RETRY_S
from lab.model.plan import PlannedFault
from lab.model.scenario import effect_to_json
from lab.model.undo import UndoRecord, to_json
from lab.ports import Fault, Observation
from lab.run.context import (
    ActiveFault,
    RunContext,
    RunState,
    report_deaths,
    report_error,
    sample_traffic,
    set_canary_rate,
    wait,
)
from lab.run.heal_faults import heal_or_raise
from lab.run.recovered import WellSince

GONE_TIMEOUT_S = 45.0
# A relapse must show within the hold time, so a canary slower than this goes on at its fast rate until then.
HOLD_WATCHED_HZ = 1.0


def run_fault_step(
    faults: Sequence[PlannedFault], well: WellSince, context: RunContext, state: RunState
) -> None:
    """Run the faults of one step. A fault that cannot be injected is void, and the faults before it are healed.

    Raises FaultError if a fault could not be healed, or if somebody removed its container: the run proves nothing after
    that.
    """
    report_deaths(context, state)
    if state.unguarded:
        for planned in faults:
            _void(planned, "the guardian is dead, and without it nothing is injected", context)
        return
    checked = [(planned, _check_absent(planned, context, state)) for planned in faults]
    ready = [(planned, *found) for planned, found in checked if found is not None]
    if len(ready) < len(faults):
        return
    sample_traffic(context, state)
    for planned, fault, before in ready:
        in_force = _inject(planned, fault, before, context, state)
        if in_force is None:
            heal_or_raise(context, state)
            return
        _prove(in_force, context, state)
    _keep_in_force(faults, context, state)
    injected = list(state.pending)
    sample_traffic(context, state)
    heal_or_raise(context, state, watch_closely=True)
    sample_traffic(context, state)
    _wait_for_recovery(injected, well, context, state)


def _void(planned: PlannedFault, why: str, context: RunContext) -> None:
    context.recorder.record("fault_void", durable=True, fault=planned.id, why=why)


def _check_absent(
    planned: PlannedFault, context: RunContext, state: RunState
) -> tuple[Fault, Observation] | None:
    """The fault and the observation before it; None, with the fault void, if such an effect is there already."""
    fault = attempt(lambda: context.build(planned))
    if isinstance(fault, Caught):
        report_error(context, state, "build", fault, fault=planned.id)
        _void(planned, f"it could not be made from the plan: {fault}", context)
        return None
    before = _observe_until(planned, fault, context, state, "before", None)
    if before.absent:
        return fault, before
    _void(planned, f"an effect like {planned.kind}'s is there already: {before.detail}", context)
    return None


def _observe(
    planned: PlannedFault,
    fault: Fault,
    context: RunContext,
    state: RunState,
    moment: str,
    before: Observation | None,
) -> Observation:
    """Observe once and journal it. If the observation fails, the effect counts neither as holding nor as absent."""
    observation = attempt(lambda: fault.observe(context.world, before))
    if isinstance(observation, Caught):
        report_error(context, state, f"observe {moment}", observation, fault=planned.id)
        detail = f"could not be observed: {observation}"
        observation = Observation(float("nan"), "", holds=False, absent=False, detail=detail)
    finite = observation.measured if math.isfinite(observation.measured) else None
    context.recorder.record(
        "proof",
        fault=planned.id,
        moment=moment,
        measured=finite,
        unit=observation.unit,
        holds=observation.holds,
        absent=observation.absent,
        detail=observation.detail,
    )
    return observation


def _observe_until(
    planned: PlannedFault,
    fault: Fault,
    context: RunContext,
    state: RunState,
    moment: str,
    before: Observation | None,
) -> Observation:
    """Observe until the effect is as it must be, for PROOF_TIMEOUT_S: a busy machine can spoil one observation."""
    give_up_ms = context.world.clock.now_ms() + PROOF_TIMEOUT_S * 1000
    while True:
        observation = _observe(planned, fault, context, state, moment, before)
        wanted = observation.absent if before is None else observation.holds
        if wanted or context.world.clock.now_ms() > give_up_ms:
            return observation
        wait(RETRY_S, context, state)


def _inject(
    planned: PlannedFault, fault: Fault, before: Observation, context: RunContext, state: RunState
) -> ActiveFault | None:
    """Inject one fault; None, with the fault void, if that failed. Raises FencedError."""
    in_force = attempt(
        lambda: _record_and_inject(planned, fault, before, context, state), passing=(FencedError,)
    )
    if not isinstance(in_force, Caught):
        return in_force
    report_error(context, state, "inject", in_force, fault=planned.id)
    if not any(active.planned is planned for active in state.pending):
        # Nothing was touched yet, but the guardian may hold a lease for it.
        attempt(lambda: context.guard.release(planned.id))
    _void(planned, str(in_force), context)
    return None


def _record_and_inject(
    planned: PlannedFault, fault: Fault, before: Observation, context: RunContext, state: RunState
) -> ActiveFault:
    undo = fault.prepare(context.world)
    lease_until_s = context.guard.lease(planned.id, planned.lease_s)
    record = UndoRecord(
        context.run_id,
        planned.id,
        planned.kind,
        context.project,
        *context.process,
        undo,
        *context.guard.process,
        lease_until_s,
    )
    in_force = ActiveFault(planned, fault, before, record)
    # The undo is pending before anything is touched. So an interrupt never leaves a fault behind; at worst it heals one
    # that was not injected yet, which is harmless because heals are idempotent.
    state.pending.append(in_force)
    context.undos.record(record)
    set_canary_rate(context, state, True)
    context.recorder.record(
        "fault_injecting",
        durable=True,
        fault=planned.id,
        fault_kind=planned.kind,
        target=planned.target,
        params=dict(planned.params),
        undo=to_json(record)["undo"],
        transient=fault.transient,
        lease_s=planned.lease_s,
        own_traffic=effect_to_json(fault.own_traffic(context.world.topology)),
    )
    context.guard.check()
    fault.inject(context.world, undo)
    context.recorder.record("fault_injected", fault=planned.id)
    return in_force


def _prove(in_force: ActiveFault, context: RunContext, state: RunState) -> None:
    """Observe the fault in force. One that never is becomes void, and the run goes on to heal it."""
    planned = in_force.planned
    observation = _observe_until(planned, in_force.fault, context, state, "during", in_force.before)
    if observation.holds:
        context.recorder.record("fault_in_force", fault=planned.id)
        sample_traffic(context, state)
        return
    measured = f"{observation.measured:.4g} {observation.unit}; {observation.detail}"
    why = f"never measured in force within {PROOF_TIMEOUT_S:g} s: {measured}"
    _void(planned, why, context)


def _keep_in_force(faults: Sequence[PlannedFault], context: RunContext, state: RunState) -> None:
    """Keep the faults in force for the longest hold time, then observe them again. Stop early if the guardian dies."""
    if wait(max(planned.hold_s for planned in faults), context, state, lambda: state.unguarded):
        return
    for in_force in state.pending:
        if not in_force.fault.transient:
            _observe_until(in_force.planned, in_force.fault, context, state, "still", in_force.before)


def _wait_for_recovery(
    injected: Sequence[ActiveFault], well: WellSince, context: RunContext, state: RunState
) -> None:
    """Observe that the effects are absent, then wait until the target has recovered and stayed so, or time is up."""
    clock = context.world.clock
    healed_ms = clock.now_ms()
    recovery_max_s = max(active.planned.recovery_max_s for active in injected)
    give_up_ms = healed_ms + recovery_max_s * 1000
    for active in injected:
        _wait_until_absent(active, context, state, recovery_max_s)

    def recovered_and_held() -> bool:
        since_ms = attempt(lambda: well.ms(injected[0].planned.id, healed_ms))
        if isinstance(since_ms, Caught):
            report_error(context, state, "recent", since_ms)
            since_ms = None
        slow_hz = well.canary_slow_hz
        set_canary_rate(context, state, since_ms is None or slow_hz < HOLD_WATCHED_HZ)
        if since_ms is None or clock.now_ms() - since_ms < well.must_hold_ms:
            return False
        known_ms = attempt(lambda: well.known_until_ms(healed_ms))
        return not isinstance(known_ms, Caught) and known_ms - since_ms >= well.must_hold_ms

    recovered = wait((give_up_ms - clock.now_ms()) / 1000, context, state, recovered_and_held)
    set_canary_rate(context, state, False)
    for active in injected:
        context.recorder.record("settled", fault=active.planned.id, recovered=recovered)


def _wait_until_absent(
    active: ActiveFault, context: RunContext, state: RunState, recovery_max_s: float
) -> None:
    def absent() -> bool:
        return _observe(active.planned, active.fault, context, state, "after", active.before).absent

    wait(min(GONE_TIMEOUT_S, recovery_max_s), context, state, absent)
