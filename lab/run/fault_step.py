"""One fault step: see absent, inject, prove, hold, heal in reverse, see gone, wait for the recovery."""

import math
from collections.abc import Sequence
from contextlib import ExitStack

from lab.errors import FaultError, FencedError, GoneError, WorldError
from lab.guard.heal import require_own
from lab.judge.stats.recovery_clock import held_since
from lab.model.lease import HEAL_TIMEOUT_S, PROOF_TIMEOUT_S, RETRY_S
from lab.model.plan import Plan, PlannedFault
from lab.model.recovery import CANARY
from lab.model.undo import UndoRecord, to_json
from lab.ports import Fault, Observation
from lab.run.crew import Crew, InForce, State, note, note_deaths, pass_time

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
            why = "the guardian is dead, and without it nothing is injected"
            crew.recorder.record("fault_void", durable=True, fault=planned.id, why=why)
        return
    seen = [(planned, crew.build(planned)) for planned in faults]
    looks = [_seen_absent(planned, fault, crew, state) for planned, fault in seen]
    if any(look is None for look in looks):
        return
    for (planned, fault), before in zip(seen, looks, strict=True):
        assert before is not None
        try:
            in_force = _inject(planned, fault, before, crew, state)
        except FencedError:
            raise
        except FaultError as error:
            crew.recorder.record("fault_void", durable=True, fault=planned.id, why=str(error))
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
        reverse.callback(crew.observer.watch_closely, watch_closely)
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


def _seen_absent(planned: PlannedFault, fault: Fault, crew: Crew, state: State) -> Observation | None:
    before = _look_until(planned, fault, crew, state, "before", None)
    if before.absent:
        return before
    why = f"an effect like {planned.kind}'s is there already: {before.detail}"
    crew.recorder.record("fault_void", durable=True, fault=planned.id, why=why)
    return None


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


def _look_until(
    planned: PlannedFault, fault: Fault, crew: Crew, state: State, moment: str, before: Observation | None
) -> Observation:
    """Look until what the moment wants is seen, for a few seconds: one look can be spoilt by a busy machine."""
    give_up_ms = crew.world.clock.now_ms() + PROOF_TIMEOUT_S * 1000
    while True:
        seen = _look(planned, fault, crew, moment, before)
        wanted = seen.absent if before is None else seen.holds
        if wanted or crew.world.clock.now_ms() > give_up_ms:
            return seen
        pass_time(RETRY_S, crew, state)


def _inject(planned: PlannedFault, fault: Fault, before: Observation, crew: Crew, state: State) -> InForce:
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
    crew.observer.watch_closely(True)
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
    crew.recorder.record("fault_void", durable=True, fault=planned.id, why=why)


def _hold(faults: Sequence[PlannedFault], crew: Crew, state: State) -> None:
    """Keep everything in force for the longest of the holds, then see that it still is; not without a guardian."""
    if pass_time(max(planned.hold_s for planned in faults), crew, state, lambda: state.unguarded):
        return
    for in_force in state.pending:
        if not in_force.fault.transient:
            _look_until(in_force.planned, in_force.fault, crew, state, "still", in_force.before)


def _heal(in_force: InForce, crew: Crew, state: State) -> None:
    """Heal, look, then record; an undo whose heal failed stays on disk for `lab heal`."""
    planned = in_force.planned
    note(crew, "fault_healing", fault=planned.id)
    try:
        crew.guard.check()
        require_own(crew.world, in_force.record.undo)
        in_force.fault.heal(crew.world, in_force.record.undo)
    except (FaultError, WorldError) as error:
        note(crew, "heal_failed", fault=planned.id, why=str(error))
        if isinstance(error, FencedError):
            raise
        if not isinstance(error, GoneError):
            return
        state.gone.append(f"{planned.id}: {error.what}")
    else:
        note(crew, "fault_healed", fault=planned.id)
    crew.undos.done(crew.run_id, planned.id)
    state.pending.remove(in_force)
    crew.guard.release(planned.id)


def _settle(injected: Sequence[InForce], plan: Plan, crew: Crew, state: State) -> None:
    """See the effects gone, then wait until the target has recovered and held, or its time is up."""
    clock = crew.world.clock
    healed_ms = clock.now_ms()
    recovery_max_s = max(one.planned.recovery_max_s for one in injected)
    give_up_ms = healed_ms + recovery_max_s * 1000
    for one in injected:
        _wait_until_gone(one, crew, state, recovery_max_s)

    def held() -> bool:
        since_ms = held_since(crew.observer.recent_probes(healed_ms), plan.observer, healed_ms)
        crew.observer.watch_closely(since_ms is None or plan.observer.canary_slow_hz < HOLD_WATCHED_HZ)
        return since_ms is not None and clock.now_ms() - since_ms >= CANARY.hold_ms

    recovered = pass_time((give_up_ms - clock.now_ms()) / 1000, crew, state, held)
    crew.observer.watch_closely(False)
    for one in injected:
        crew.recorder.record("settled", fault=one.planned.id, recovered=recovered)


def _wait_until_gone(one: InForce, crew: Crew, state: State, recovery_max_s: float) -> None:
    def gone() -> bool:
        return _look(one.planned, one.fault, crew, "after", one.before).absent

    pass_time(min(GONE_TIMEOUT_S, recovery_max_s), crew, state, gone)
