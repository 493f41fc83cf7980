"""Undo every fault that a dead run left behind; needs nothing but the undos in the state directory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.boundary import Caught, attempt
from lab.errors import FaultError, GoneError, LabError, WorldError
from lab.model.undo import EnableProxy, EndRun, RemoveToxic, Undo, UndoRecord
from lab.ports import Fault, UndoStore, World

HEALED, GONE, LIVE, FAILED, UNREADABLE = "healed", "gone", "live", "failed", "unreadable"


@dataclass(frozen=True, slots=True)
class Healed:
    """What became of one pending undo.

    `outcome` is `healed`, `gone` (what the fault acted on is), `live` (its run goes on), `failed` or `unreadable`.
    """

    run_id: str
    fault_id: str
    outcome: str
    detail: str = ""

    @property
    def line(self) -> str:
        """The outcome as one line for people."""
        what = "what belonged to run" if self.fault_id == "run" else f"{self.fault_id} of run"
        return f"{self.outcome:10} {what} {self.run_id}: {self.detail}".rstrip(": ")


@dataclass(frozen=True, slots=True)
class Healer:
    """Carries out undos. `world_of` gives the world of a stack, None where the stack is gone.

    `end_run` ends what belongs to a run as a whole and says what there was.
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
    """Raise GoneError where whatever answers at Toxiproxy's address now is not the stack's own container.

    Other undos name a container by its id; a toxic is known by an address, which somebody else may have got since.
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
    """For worlds in memory, in which a run has no containers and no processes."""
    return []


def heal_pending(
    undos: UndoStore,
    faults: dict[str, type[Fault]],
    world_of: Callable[[str], World | None],
    is_alive: Callable[[UndoRecord], bool],
    end_run: Callable[[EndRun], list[str]] = no_belongings,
    now_s: float = 0.0,
) -> list[Healed]:
    """Carry out all undos of dead runs, newest first; those of a live run are left alone.

    An undo that fails stays pending. `now_s` are seconds of CLOCK_BOOTTIME, by which a lease is seen to be over.
    """
    healer = Healer(faults, world_of, end_run)
    return [
        _alive(record, now_s) if is_alive(record) else _heal(record, undos, healer)
        for record in undos.pending()
    ]


def _alive(record: UndoRecord, now_s: float) -> Healed:
    detail = f"its run (process {record.pid}) goes on"
    if 0.0 < record.lease_until_s < now_s:
        late_s = now_s - record.lease_until_s
        detail += f", {late_s:.0f} s past its lease: should it hang, `kill -9 {record.pid}`, then `lab heal`"
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
    """Raise LabError where something of a dead run is still there, naming each."""
    left = [one for one in healed if one.outcome in (FAILED, UNREADABLE)]
    if left:
        raise LabError(
            "not everything that dead runs left could be healed",
            last_state="\n".join(one.line for one in left),
            try_="`lab up` where no engine answers, else `lab heal` again; `lab down --all` removes all stacks, "
            "then delete the files that are named",
        )
