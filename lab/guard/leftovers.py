"""Heals what dead runs left on this machine, after their guardians had time to do so."""

import signal
from contextlib import suppress
from functools import cache
from pathlib import Path

from lab.errors import WorldError
from lab.faults import discover
from lab.guard.belongings import end_run
from lab.guard.fence import GuardFiles
from lab.guard.guardian_channel import boot_s
from lab.guard.heal import HEALED, UNREADABLE, Healed, heal_pending
from lab.guard.state_files import guard_files, undo_files
from lab.guard.undo_store import UndoFiles
from lab.host.processes.process_handle import is_alive, open_process
from lab.host.world import docker_client, world_of
from lab.model.undo import EndRun, UndoRecord
from lab.ports import Clock, World
from lab.provision.stack import stack

# How long a command waits for the guardian of a dead run before it heals the rest itself.
GUARDIAN_TIMEOUT_S = 30.0
GUARDIAN_END_S = 5.0


def heal_leftovers(clock: Clock) -> list[Healed]:
    """Heal what dead runs left, if their guardians could not; the engine is asked only if there is something to heal.

    A guardian that is at work gets time to finish. Live runs are left alone. If no engine answers, everything stays
    pending, with the outcome `failed`.
    """
    undos, guards = undo_files(), guard_files()
    before = [_name(record) for record in undos.pending() if not is_alive(record)]
    _let_guardians_finish(guards)
    left = {_name(record) for record in undos.pending()}
    healed = [Healed(*name, HEALED, "by its guardian, just now") for name in before if name not in left]
    healed += [_unreadable(path, why) for path, why in undos.unreadable()]
    healed += _heal_pending(undos, clock)
    for guarded in guards.all():
        if not guarded.run_lives:
            undos.forget_drafts(guarded.run_id)
            with suppress(WorldError):
                guards.close(guarded.run_id)
    return healed


def _name(record: UndoRecord) -> tuple[str, str]:
    return record.run_id, record.fault_id


def _heal_pending(undos: UndoFiles, clock: Clock) -> list[Healed]:
    client = cache(docker_client)

    def world(project: str) -> World | None:
        spec = stack.load(project)
        return None if spec is None else world_of(client(), spec.topology, clock)

    def end(undo: EndRun) -> list[str]:
        return end_run(client(), undo)

    return heal_pending(undos, discover(), world, is_alive, end, boot_s())


def _let_guardians_finish(guards: GuardFiles) -> None:
    """Ask the guardians of dead runs to finish now, and wait for them; they still check that nothing is left.

    A guardian that does not end in time is killed: it must not act later, when the next run has faults of its own.
    """
    for guarded in guards.all():
        if guarded.run_lives:
            continue
        guardian = open_process(guarded.guardian_pid, guarded.guardian_started)
        if guardian is None:
            continue
        guardian.signal(signal.SIGTERM)
        if not guardian.has_ended(GUARDIAN_TIMEOUT_S):
            guardian.signal(signal.SIGKILL)
            guardian.has_ended(GUARDIAN_END_S)
        guardian.close()


def _unreadable(path: Path, why: str) -> Healed:
    run_id, _, fault_id = path.stem.rpartition(".")
    detail = f"{path}: {why}; what it should undo is unknown. `lab down --all` removes all stacks; then delete the file"
    return Healed(run_id, fault_id, UNREADABLE, detail)
