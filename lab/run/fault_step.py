"""One fault step: see absent, inject, prove, hold, heal in reverse, see gone, wait for the recovery.

Whatever an adapter raises here is an observation that could not be made, a void fault or a failed heal; only a journal
that cannot be written, a broken clock and the guardian's fence end the run.
"""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from lab.boundary import Caught, attempt
from lab.errors import FaultError, FencedError, GoneError
from lab.guard.heal import require_own_toxiproxy
from lab.judge.stats.recovery_clock import held_since
from lab.model.lease import HEAL_TIMEOUT_S, PROOF_TIMEOUT_S, RETRY_S
from lab.model.plan import Plan, PlannedFault
from lab.model.recovery import CANARY
from lab.model.undo import UndoRecord, to_json
from lab.ports import Fault, Observation
from lab.run.crew import Crew, InForce, State, ask_closely, note, note_deaths, note_error, pass_time

GONE_TIMEOUT_S = 45.0
# A relapse must show within the hold: a target that is usually asked less often is asked closely until its end.
HOLD_WATCHED_HZ = 1.0


def carry_out(faults: Sequence[PlannedFault], plan: Plan, crew: Crew, state: State) -> None:
    """Carry out the faults of one step; one that cannot be injected voids itself and heals what is in force.

    Raises FaultError where something could not be healed, or was taken away: the run proves nothing from there on.
    """
    note_deaths(crew, state)
    if state.unguarded:
        for planned in faults:
            _void(planned, "the guardian is dead, and without it nothing is injected", crew)
        return
    looked = [(planned, _seen_absent(planned, crew, state)) for planned in faults]
    ready = [(planned, *found) for planned, found in looked if found is not None]
    if len(ready) < len(faults):
        return
    for planned, fault, before in ready:
        in_force = _inject(planned, fault, before, crew, state)
        if in_force is None:
            _heal_or_end(crew, state)
            return
        _prove(in_force, crew, state)
    _hold(faults, crew, state)
    injected = list(state.pending)
    _heal_or_end(crew, state, watch_closely=True)
    _settle(injected, plan, crew, state)


def heal_all(crew: Crew, state: State, *, watch_closely: bool = False) -> None:
    """Heal all that is in force, in reverse; whatever one of them raises, the others are healed."""
    with ExitStack() as reverse:
        reverse.callback(ask_closely, crew, state, watch_closely)
        for in_force in state.pending:
            reverse.callback(_heal, in_force, crew, state)


def _heal_or_end(crew: Crew, state: State, *, watch_closely: bool = False) -> None:
    """Heal all, for a while again and again; raises FaultError where something stays or is gone."""
    give_up_ms = crew.world.clock.now_ms() + HEAL_TIMEOUT_S * 1000
    heal_all(crew, state, watch_closely=watch_closely)
    while state.pending and crew.world.clock.now_ms() < give_up_ms:
        pass_time(RETRY_S, crew, state)
        heal_all(crew, state, watch_closely=watch_closely)
    if state.gone:
        raise GoneError(
            "what a fault acted on was taken away by somebody else", last_state="; ".join(state.gone)
        )
    if state.pending:
        left = ", ".join(one.planned.id for one in state.pending)
        raise FaultError(f"{left} could not be healed, so nothing more can be measured", try_="`lab heal`")


def _void(planned: PlannedFault, why: str, crew: Crew) -> None:
    crew.recorder.record("fault_void", durable=True, fault=planned.id, why=why)


def _seen_absent(planned: PlannedFault, crew: Crew, state: State) -> tuple[Fault, Observation] | None:
    """The fault and how its effect looked before it; None, and the fault void, where the effect is there already."""
    fault = attempt(lambda: crew.build(planned))
    if isinstance(fault, Caught):
        note_error(crew, state, "build", fault, fault=planned.id)
        _void(planned, f"it could not be made from the plan: {fault}", crew)
        return None
    before = _look_until(planned, fault, crew, state, "before", None)
    if before.absent:
        return fault, before
    _void(planned, f"an effect like {planned.kind}'s is there already: {before.detail}", crew)
    return None


def _look(
    planned: PlannedFault, fault: Fault, crew: Crew, state: State, moment: str, before: Observation | None
) -> Observation:
    """One observation, journalled; where none could be made the fault neither holds nor is absent."""
    seen = attempt(lambda: fault.observe(crew.world, before))
    if isinstance(seen, Caught):
        note_error(crew, state, f"observe {moment}", seen, fault=planned.id)
        detail = f"could not be observed: {seen}"
        seen = Observation(float("nan"), "", holds=False, absent=False, detail=detail)
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


def _look_until(
    planned: PlannedFault, fault: Fault, crew: Crew, state: State, moment: str, before: Observation | None
) -> Observation:
    """Look until what the moment wants is seen, for a few seconds: one look can be spoilt by a busy machine."""
    give_up_ms = crew.world.clock.now_ms() + PROOF_TIMEOUT_S * 1000
    while True:
        seen = _look(planned, fault, crew, state, moment, before)
        wanted = seen.absent if before is None else seen.holds
        if wanted or crew.world.clock.now_ms() > give_up_ms:
            return seen
        pass_time(RETRY_S, crew, state)


def _inject(
    planned: PlannedFault, fault: Fault, before: Observation, crew: Crew, state: State
) -> InForce | None:
    """Inject one fault; None, and the fault void, where that failed. Raises FencedError."""
    in_force = attempt(lambda: _begin(planned, fault, before, crew, state), passing=(FencedError,))
    if not isinstance(in_force, Caught):
        return in_force
    note_error(crew, state, "inject", in_force, fault=planned.id)
    if not any(one.planned is planned for one in state.pending):
        # Nothing was touched yet, but the guardian may have been told of it.
        attempt(lambda: crew.guard.release(planned.id))
    _void(planned, str(in_force), crew)
    return None


def _begin(planned: PlannedFault, fault: Fault, before: Observation, crew: Crew, state: State) -> InForce:
    undo = fault.prepare(crew.world)
    lease_until_s = crew.guard.lease(planned.id, planned.lease_s)
    record = UndoRecord(
        crew.run_id,
        planned.id,
        planned.kind,
        crew.project,
        *crew.process,
        undo,
        *crew.guard.process,
        lease_until_s,
    )
    in_force = InForce(planned, fault, before, record)
    # In this order an interrupt at any point heals too much rather than too little, and healing is idempotent.
    state.pending.append(in_force)
    crew.undos.record(record)
    ask_closely(crew, state, True)
    crew.recorder.record(
        "fault_injecting",
        durable=True,
        fault=planned.id,
        fault_kind=planned.kind,
        target=planned.target,
        params=dict(planned.params),
        undo=to_json(record)["undo"],
        transient=fault.transient,
        lease_s=planned.lease_s,
    )
    crew.guard.check()
    fault.inject(crew.world, undo)
    crew.recorder.record("fault_injected", fault=planned.id)
    return in_force


def _prove(in_force: InForce, crew: Crew, state: State) -> None:
    """See the fault in force; one that never is stays void, and the run goes on to heal it."""
    planned = in_force.planned
    seen = _look_until(planned, in_force.fault, crew, state, "during", in_force.before)
    if seen.holds:
        crew.recorder.record("fault_in_force", fault=planned.id)
        return
    why = f"never seen in force within {PROOF_TIMEOUT_S:g} s: {seen.measured:.4g} {seen.unit}; {seen.detail}"
    _void(planned, why, crew)


def _hold(faults: Sequence[PlannedFault], crew: Crew, state: State) -> None:
    """Keep everything in force for the longest of the holds, then see that it still is; not without a guardian."""
    if pass_time(max(planned.hold_s for planned in faults), crew, state, lambda: state.unguarded):
        return
    for in_force in state.pending:
        if not in_force.fault.transient:
            _look_until(in_force.planned, in_force.fault, crew, state, "still", in_force.before)


def _heal(in_force: InForce, crew: Crew, state: State) -> None:
    """Heal, look, then record; an undo whose heal failed stays on disk for `lab heal`. Raises FencedError."""
    planned = in_force.planned
    if not in_force.healed and not _undone(in_force, crew, state):
        return
    in_force.healed = True
    # An undo that stays on disk would be carried out by the guardian, or by the next `lab`, under another fault.
    forgotten = attempt(lambda: crew.undos.done(crew.run_id, planned.id))
    if isinstance(forgotten, Caught):
        why = f"healed, but its undo cannot be removed from disk: {forgotten}"
        note(crew, "heal_failed", fault=planned.id, why=why)
        note_error(crew, state, "undos.done", forgotten, fault=planned.id)
        return
    state.pending.remove(in_force)
    released = attempt(lambda: crew.guard.release(planned.id))
    if isinstance(released, Caught):
        note_error(crew, state, "guard.release", released, fault=planned.id)


def _undone(in_force: InForce, crew: Crew, state: State) -> bool:
    """Carry out the undo; True where it succeeded, or where what it would act on is gone."""
    planned, undo = in_force.planned, in_force.record.undo
    note(crew, "fault_healing", fault=planned.id)

    def heal() -> None:
        crew.guard.check()
        require_own_toxiproxy(crew.world, undo)
        in_force.fault.heal(crew.world, undo)

    failed = attempt(heal)
    if not isinstance(failed, Caught):
        note(crew, "fault_healed", fault=planned.id)
        return True
    note(crew, "heal_failed", fault=planned.id, why=str(failed))
    note_error(crew, state, "heal", failed, fault=planned.id)
    if isinstance(failed.error, FencedError):
        raise failed.error
    if isinstance(failed.error, GoneError):
        state.gone.append(f"{planned.id}: {failed.error.what}")
        return True
    return False


def _settle(injected: Sequence[InForce], plan: Plan, crew: Crew, state: State) -> None:
    """See the effects gone, then wait until the target has recovered and held, or its time is up."""
    clock = crew.world.clock
    healed_ms = clock.now_ms()
    recovery_max_s = max(one.planned.recovery_max_s for one in injected)
    give_up_ms = healed_ms + recovery_max_s * 1000
    for one in injected:
        _wait_until_gone(one, crew, state, recovery_max_s)

    def held() -> bool:
        since_ms = attempt(partial(_well_since_ms, plan, crew, healed_ms))
        if isinstance(since_ms, Caught):
            note_error(crew, state, "observer.recent_probes", since_ms)
            since_ms = None
        ask_closely(crew, state, since_ms is None or plan.observer.canary_slow_hz < HOLD_WATCHED_HZ)
        return since_ms is not None and clock.now_ms() - since_ms >= CANARY.hold_ms

    recovered = pass_time((give_up_ms - clock.now_ms()) / 1000, crew, state, held)
    ask_closely(crew, state, False)
    for one in injected:
        crew.recorder.record("settled", fault=one.planned.id, recovered=recovered)


def _well_since_ms(plan: Plan, crew: Crew, healed_ms: float) -> float | None:
    return held_since(crew.observer.recent_probes(healed_ms), plan.observer, healed_ms)


def _wait_until_gone(one: InForce, crew: Crew, state: State, recovery_max_s: float) -> None:
    def gone() -> bool:
        return _look(one.planned, one.fault, crew, state, "after", one.before).absent

    pass_time(min(GONE_TIMEOUT_S, recovery_max_s), crew, state, gone)
