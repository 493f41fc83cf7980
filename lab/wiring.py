"""Builds the world of a stack from its specification; the only place that knows which adapter serves which port."""

import signal
from contextlib import suppress
from functools import cache
from pathlib import Path

import docker
from docker.errors import DockerException

from lab.adapters.belongings import end_run
from lab.adapters.cgroups import HostCgroups
from lab.adapters.containers import Audit, DockerContainers, unheard
from lab.adapters.fence import GuardFiles
from lab.adapters.guardian_link import GuardianLink
from lab.adapters.guardian_post import boot_s
from lab.adapters.lives import hold
from lab.adapters.netns import HostNetns
from lab.adapters.processes import HostProcesses
from lab.adapters.provision import stack
from lab.adapters.provision.state import state_dir
from lab.adapters.reach import Reach
from lab.adapters.storage import HostStorage
from lab.adapters.toxiproxy import Toxiproxy
from lab.adapters.undo_store import UndoFiles, is_alive
from lab.errors import WorldError
from lab.faults import discover
from lab.heal import HEALED, UNREADABLE, Healed, heal_pending
from lab.model.undo import EndRun, UndoRecord
from lab.ports import Clock, Guard, Recorder, World

# How long a command waits for the guardian of a dead run, before it heals by itself what is still pending.
GUARDIAN_TIMEOUT_S = 30.0
GUARDIAN_END_S = 5.0


def docker_client() -> docker.DockerClient:
    """A client of the engine; raises WorldError where none answers."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        raise WorldError(
            "no Docker engine answers", last_state=str(error), try_="`lab up`, or `lab doctor`"
        ) from error
    return client


def address(spec: stack.StackSpec, port: str) -> str:
    """The address on this host of one of a stack's published ports."""
    return f"http://127.0.0.1:{spec.ports[port]}"


def world_of(
    client: docker.DockerClient,
    spec: stack.StackSpec,
    clock: Clock,
    *,
    run_id: str = "by-hand",
    audit: Audit = unheard,
) -> World:
    """The world of a running stack; every effect on it is told to `audit` (act, on what, detail) before it is had.

    What is only demanded for a look is not: each look stands in the journal itself, with what it asked for.
    """
    containers = DockerContainers(client, spec.project, audit)
    processes, control = HostProcesses(run_id, audit), address(spec, "toxiproxy")
    links = {"mcp": address(spec, "mcp"), "qdrant": f"{address(spec, 'qdrant_link')}/healthz"}
    past = {"mcp": address(spec, "mcp_direct"), "qdrant": address(spec, "qdrant")}
    health = {"mcp": past["mcp"], "qdrant": f"{past['qdrant']}/readyz", "toxiproxy": f"{control}/version"}
    images = {"qdrant": spec.volume.image} if spec.store_kind == "ext4" else {}
    return World(
        clock=clock,
        containers=containers,
        proxies=Toxiproxy(control, links, past=past, audit=audit, containers=containers),
        cgroups=HostCgroups(containers, clock, audit),
        reach=Reach(health),
        netns=HostNetns(containers, processes, audit),
        processes=processes,
        storage=HostStorage(containers, {"qdrant": "/qdrant/storage"}, images, audit),
    )


def undo_files() -> UndoFiles:
    """The pending undos of this machine."""
    return UndoFiles(state_dir() / "undo")


def guard_files() -> GuardFiles:
    """Who guards which run on this machine."""
    return GuardFiles(state_dir() / "guards")


def guard(run_id: str, project: str, directory: Path, clock: Clock) -> GuardianLink:
    """Start the guardian of a run; returns at once, while the guardian prepares itself."""
    return GuardianLink(run_id=run_id, project=project, directory=directory, clock=clock, files=guard_files())


def fenced(guarded: Guard, recorder: Recorder) -> Audit:
    """The audit of a run's world: may the run still act (else FencedError), then a line in its journal.

    So the fence stands before each single effect. A journal that cannot be written hinders none: what is in force must
    be healed, and for the rest the run ends at its next event.
    """

    def audit(act: str, on: str, detail: str) -> None:
        guarded.check()
        with suppress(WorldError):
            recorder.record("effect", act=act, on=on, detail=detail)

    return audit


def heal_leftovers(clock: Clock) -> list[Healed]:
    """Heal what dead runs left, where their guardians could not; asks the engine only when there is something to heal.

    A guardian at work is given the time to finish. What belongs to a live run is left alone. Where no engine answers,
    all stays pending, and is `failed`.
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
        return None if spec is None else world_of(client(), spec, clock)

    def end(undo: EndRun) -> list[str]:
        return end_run(client(), undo)

    return heal_pending(undos, discover(), world, is_alive, end, boot_s())


def _let_guardians_finish(guards: GuardFiles) -> None:
    """Ask the guardians of dead runs to finish now, and wait; they still see to it that nothing is left.

    One that does not end in time is ended: it must not wake up later and act on the faults of the next run.
    """
    for guarded in guards.all():
        if guarded.run_lives or (life := hold(guarded.guardian_pid, guarded.guardian_started)) is None:
            continue
        life.signal(signal.SIGTERM)
        if not life.ended(GUARDIAN_TIMEOUT_S):
            life.signal(signal.SIGKILL)
            life.ended(GUARDIAN_END_S)
        life.close()


def _unreadable(path: Path, why: str) -> Healed:
    run_id, _, fault_id = path.stem.rpartition(".")
    detail = f"{path}: {why}; what it was to undo is unknown. `lab down --all` removes all stacks; then delete the file"
    return Healed(run_id, fault_id, UNREADABLE, detail)
