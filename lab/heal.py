"""Undo every fault that a dead run left behind; needs nothing but the undos in the state directory."""

from collections.abc import Callable
from dataclasses import dataclass

from lab.errors import FaultError, GoneError, WorldError
from lab.model.undo import UndoRecord
from lab.ports import Fault, UndoStore, World


@dataclass(frozen=True, slots=True)
class Healed:
    """What became of one pending undo: `healed`, `gone` (its container is), `live` (its run goes on) or `failed`."""

    record: UndoRecord
    outcome: str
    detail: str = ""


def heal_pending(
    undos: UndoStore,
    faults: dict[str, type[Fault]],
    world_of: Callable[[str], World | None],
    is_alive: Callable[[UndoRecord], bool],
) -> list[Healed]:
    """Carry out all undos of dead runs, newest first; those of a live run are left alone.

    `world_of` gives the world of a stack, None where the stack is gone. An undo that fails stays pending.
    """
    return [_heal(record, undos, faults, world_of, is_alive) for record in undos.pending()]


def _heal(
    record: UndoRecord,
    undos: UndoStore,
    faults: dict[str, type[Fault]],
    world_of: Callable[[str], World | None],
    is_alive: Callable[[UndoRecord], bool],
) -> Healed:
    if is_alive(record):
        return Healed(record, "live", f"its run (process {record.pid}) goes on")
    try:
        outcome = _undo(record, faults, world_of(record.project))
    except (FaultError, WorldError) as error:
        return Healed(record, "failed", str(error))
    undos.done(record.run_id, record.fault_id)
    return outcome


def _undo(record: UndoRecord, faults: dict[str, type[Fault]], world: World | None) -> Healed:
    if world is None:
        return Healed(record, "gone", f"the stack {record.project} is gone, and the fault with it")
    try:
        faults[record.fault_kind].heal(world, record.undo)
    except GoneError as error:
        return Healed(record, "gone", error.what)
    except KeyError:
        raise FaultError(f"no fault kind {record.fault_kind!r} here; was the lab downgraded?") from None
    return Healed(record, "healed")
