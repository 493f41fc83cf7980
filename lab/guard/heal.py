"""Carries out the undos of dead runs; this needs nothing but the undos in the state directory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.boundary import Caught, attempt
from lab.errors import FaultError, GoneError, LabError, WorldError
from lab.model.undo import EnableProxy, EndRun, RemoveToxic, Undo, UndoRecord
from lab.ports import Fault, UndoStore, World

HEALED, GONE, LIVE, FAILED, UNREADABLE = "healed", "gone", "live", "failed", "unreadable"


@dataclass(frozen=True, slots=True)
class Healed:
    """The outcome of one pending undo.

    It is `healed`, `gone` (the object of the fault no longer exists), `live` (the run still goes on), `failed`, or
    `unreadable`.
    """

    run_id: str
    fault_id: str
    outcome: str
    detail: str = ""

    @property
    def line(self) -> str:
        """The outcome as one line of text."""
        what = "what belonged to run" if self.fault_id == "run" else f"{self.fault_id} of run"
        return f"{self.outcome:10} {what} {self.run_id}: {self.detail}".rstrip(": ")


@dataclass(frozen=True, slots=True)
class Healer:
    """Carries out undos. `world_of` returns the world of a stack, or None if the stack no longer exists.

    `end_run` ends what belongs to a run as a whole, and returns what there was.
    """

    faults: dict[str, type[Fault]]
    world_of: Callable[[str], World | None]
    end_run: Callable[[EndRun], list[str]]

    def heal(self, record: UndoRecord) -> Healed:
        """Carry out one undo; never raises, because others wait to be healed."""
        done = attempt(lambda: self._undo(record))
        outcome, detail = (FAILED, str(done)) if isinstance(done, Caught) else done
        return Healed(record.run_id, record.fault_id, outcome, detail)

    def _undo(self, record: UndoRecord) -> tuple[str, str]:
        if isinstance(record.undo, EndRun):
            return HEALED, ", ".join(self.end_run(record.undo))
        world = self.world_of(record.project)
        if world is None:
            return GONE, f"the stack {record.project} is gone, and the fault with it"
        if record.fault_kind not in self.faults:
            raise FaultError(f"no fault kind {record.fault_kind!r} here; was the lab downgraded?")
        try:
            require_own_toxiproxy(world, record.undo)
            self.faults[record.fault_kind].heal(world, record.undo)
        except GoneError as error:
            return GONE, error.what
        except (FaultError, WorldError):
            if record.undo.facts.ends_with_the_stack and nothing_runs(world):
                return (
                    GONE,
                    "no container of the stack runs any more, and the fault ended with them; try `lab up`",
                )
            raise
        return HEALED, ""


def require_own_toxiproxy(world: World, undo: Undo) -> None:
    """Raise GoneError if the stack's own Toxiproxy does not run, because another server may answer at its address now.

    Other undos name a container by its id. A toxic is reached through an address, which may belong to somebody else by
    now.
    """
    if (
        isinstance(undo, RemoveToxic | EnableProxy)
        and not world.containers.state(world.topology.proxy.name).running
    ):
        raise GoneError("Toxiproxy does not run, and its toxics ended with it", try_="`lab up`")


def nothing_runs(world: World) -> bool:
    """Whether no service that a fault can act on runs, as after a restart of the engine.

    Toxics, rules and pauses are gone then. Raises WorldError where the engine does not say.
    """
    for service in world.topology.acted_on:
        try:
            if world.containers.state(service).running:
                return False
        except GoneError:
            continue
    return True


def no_belongings(undo: EndRun) -> list[str]:
    """The `end_run` of worlds in memory, in which a run has no containers and no processes."""
    return []


def heal_pending(
    undos: UndoStore,
    faults: dict[str, type[Fault]],
    world_of: Callable[[str], World | None],
    is_alive: Callable[[UndoRecord], bool],
    end_run: Callable[[EndRun], list[str]] = no_belongings,
    now_s: float = 0.0,
) -> list[Healed]:
    """Carry out all undos of dead runs, newest first; the undos of live runs are left alone.

    An undo that fails stays pending. `now_s`, in seconds of CLOCK_BOOTTIME, shows which leases have expired.
    """
    healer = Healer(faults, world_of, end_run)
    return [
        _left_alone(record, now_s) if is_alive(record) else _heal(record, undos, healer)
        for record in undos.pending()
    ]


def _left_alone(record: UndoRecord, now_s: float) -> Healed:
    detail = f"its run (process {record.pid}) still goes on"
    if 0.0 < record.lease_until_s < now_s:
        late_s = now_s - record.lease_until_s
        detail += f", {late_s:.0f} s past its lease: if it hangs, `kill -9 {record.pid}`, then `lab heal`"
    return Healed(record.run_id, record.fault_id, LIVE, detail)


def _heal(record: UndoRecord, undos: UndoStore, healer: Healer) -> Healed:
    healed = healer.heal(record)
    if healed.outcome == FAILED:
        return healed
    try:
        undos.done(record.run_id, record.fault_id)
    except WorldError as error:
        return Healed(record.run_id, record.fault_id, FAILED, str(error))
    return healed


def require_healed(healed: Sequence[Healed]) -> None:
    """Raise LabError, with the name of each, if effects of dead runs remain."""
    left = [outcome for outcome in healed if outcome.outcome in (FAILED, UNREADABLE)]
    if left:
        raise LabError(
            "some effects of dead runs could not be healed",
            last_state="\n".join(outcome.line for outcome in left),
            try_="`lab up` where no engine answers, else `lab heal` again; `lab down --all` removes all stacks, "
            "then delete the files that are named",
        )
