"""Plans, starts, stops and resets a stack; the rest of the lab uses these functions."""

from collections.abc import Callable, Mapping
from pathlib import Path

from lab.errors import LabError, WorldError
from lab.host.machine.shell import Runner, Subprocesses
from lab.host.system_errors import as_world_error
from lab.model.topology import Topology
from lab.provision.images.image_specs import ImageUsed
from lab.provision.machine.engine import Engine, require_engine
from lab.provision.machine.progress import Progress, silent
from lab.provision.stack import owned, store_content, store_volume
from lab.provision.stack.compose_cli import StackCompose
from lab.provision.stack.kept_stores import KeptStore, KeptStores
from lab.provision.stack.network_check import require_no_ipv6
from lab.provision.stack.ports import chosen_ports, free_ports, require_free
from lab.provision.stack.readiness import Ask, answers, takes_collections, wait_until
from lab.provision.stack.stack_spec import (
    DEFAULT_PROJECT,
    Ports,
    StackSpec,
    check_project,
    forget,
    load,
    save,
    saved_projects,
    target_settings,
)
from lab.read.compose_file import default_ports

__all__ = [
    "DEFAULT_PROJECT",
    "StackSpec",
    "addresses",
    "down_all",
    "keep_store",
    "load",
    "plan_stack",
    "reset_store",
    "start",
    "status",
    "stop",
]

READY_TIMEOUT_S = 60.0
HTTP_STATUS_ANY = 600
LOG_LINES = 15
# A store writes all that it holds when it is stopped.
STOP_GRACE_S = 20
FILES_SHOWN = 3
ADVICE = "`lab doctor` examines the machine"


@as_world_error("the stack cannot be planned", try_=ADVICE)
def plan_stack(
    project: str, target_dir: Path, images: Mapping[str, ImageUsed], ports: Ports = None
) -> StackSpec:
    """Decide everything about a stack and save the decision; this starts nothing.

    `ports` is None for the defaults and the LAB_PORT_ variables, or `"free"` for free ports. A stack that was planned
    before keeps its store volume, and its ports unless a variable names another one. Raises WorldError for a port that
    is in use.
    """
    engine, runner = require_engine(Subprocesses()), Subprocesses()
    before = load(check_project(project))
    settings = target_settings(target_dir)
    kind = before.store_kind if before else store_volume.possible_kind(engine, runner)[0]
    spec = StackSpec(
        project=project,
        ports=_ports(ports, before),
        images=dict(images),
        target_dir=target_dir.resolve(),
        store_volume=f"{project}_store",
        store_kind=kind,
        grafana="grafana" in images,
        environment=settings.environment,
        endpoint=settings.endpoint,
        start_timeout_s=settings.start_timeout_s,
    )
    held = owned.published_ports(engine, project)
    needed = {port.name: spec.ports[port.name] for port in spec.topology.ports}
    require_free({name: number for name, number in needed.items() if number not in held})
    save(spec)
    return spec


def _ports(ports: Ports, before: StackSpec | None) -> dict[str, int]:
    if ports is None:
        return chosen_ports(defaults=before.ports if before is not None else None)
    if ports == "free":
        if before is not None:
            return dict(before.ports)
        others = [load(name) for name in saved_projects()]
        defaults = default_ports()
        taken = {port for spec in others if spec for port in spec.ports.values()}
        return free_ports(defaults, taken | set(defaults.values()))
    return {**chosen_ports(), **ports}


@as_world_error("the stack cannot be started", try_=ADVICE)
def start(
    spec: StackSpec, progress: Progress | None = None, *, ready: Callable[[str], bool] | None = None
) -> None:
    """Start the stack and wait until every part answers; services that already run as planned are left alone.

    `ready(url)` decides when the target is ready; by default it is ready with any HTTP answer. If the start fails, the
    WorldError contains the last log lines of the containers, and everything that this start made is removed again.
    """
    progress, runner = progress or silent(), Subprocesses()
    engine = require_engine(runner)
    before = owned.container_ids(engine, spec.project)
    save(spec)
    made = store_volume.ensure(spec.volume, engine, runner)
    try:
        _bring_up(spec, engine, runner, progress, ready)
        require_no_ipv6(engine, spec.project)
    except LabError as error:
        log_lines = owned.last_log_lines(engine, spec.project, LOG_LINES)
        owned.remove_new(engine, spec.project, before)
        if made:
            store_volume.remove(spec.volume, engine, runner)
        raise WorldError(
            f"the stack did not start: {error.what}",
            where=error.where,
            last_state="\n".join(part for part in (error.last_state, log_lines) if part),
            try_=error.try_
            or "the containers' last lines above tell more; `lab doctor` examines the machine",
        ) from error


@as_world_error("the stack cannot be brought up", try_=ADVICE)
def _bring_up(
    spec: StackSpec, engine: Engine, runner: Runner, progress: Progress, ready: Callable[[str], bool] | None
) -> None:
    """Start the other services first, then the target, because it creates its collections when it starts."""
    topology = spec.topology
    targets = topology.with_role("target")
    first = [name for name in topology.names if name not in targets]
    with progress.step(f"starting {', '.join(first)}"):
        StackCompose(spec, engine, runner, first).start()
        _wait_for_backends(topology, engine)
    with progress.step(f"starting {', '.join(targets)} ({spec.target_dir.name})"):
        StackCompose(spec, engine, runner, list(targets)).start()
        _wait_for_target(spec, engine, ready)


def _wait_for_backends(topology: Topology, engine: Engine) -> None:
    """Wait for each service but the target, then until a collection can be created through each store's link."""
    for service in topology.services:
        if service.health and service.role != "target":
            _wait(topology, engine, service.name, service.health, answers(service.health))
    for store in topology.with_role("store"):
        collections = f"{topology.link_to(store).through}/collections"
        _wait(topology, engine, store, collections, takes_collections(collections))


def _wait(topology: Topology, engine: Engine, service: str, address: str, ask: Ask) -> None:
    wait_until(
        service,
        ask,
        where=address,
        timeout_s=READY_TIMEOUT_S,
        alive=lambda: owned.why_dead(engine, topology.project, service),
    )


def _wait_for_target(spec: StackSpec, engine: Engine, ready: Callable[[str], bool] | None) -> None:
    target = spec.topology.target.name
    url = spec.topology.direct_address(target, spec.endpoint)
    wait_until(
        target,
        answers(url, below=HTTP_STATUS_ANY)
        if ready is None
        else lambda: "" if ready(url) else "it does not serve yet",
        where=url,
        timeout_s=spec.start_timeout_s,
        alive=lambda: owned.why_dead(engine, spec.project, target),
    )


@as_world_error("the stack cannot be stopped", try_=ADVICE)
def stop(spec: StackSpec, *, volumes: bool) -> None:
    """Remove the stack's containers and network; with `volumes` also its data and its saved specification."""
    runner = Subprocesses()
    engine = require_engine(runner)
    save(spec)
    StackCompose(spec, engine, runner).down(volumes=volumes)
    if volumes:
        store_volume.remove(spec.volume, engine, runner)
        forget(spec.project)


@as_world_error("the store cannot be reset", try_=ADVICE)
def reset_store(
    spec: StackSpec,
    progress: Progress | None = None,
    *,
    ready: Callable[[str], bool] | None = None,
    fill: store_content.Fill = store_content.empty,
) -> None:
    """Remove target and store with all that they hold, fill the store's volume, start both, wait until they are ready.

    The volume is emptied, or filled by `fill`. The containers are made new, so that a target which keeps files of its
    own cannot remember an earlier store.
    """
    progress, runner = progress or silent(), Subprocesses()
    engine = require_engine(runner)
    save(spec)
    with progress.step("filling the store's volume"):
        owned.remove(engine, spec.project, spec.topology.with_role("target", "store"))
        fill(spec, engine, runner)
    start(spec, progress, ready=ready)


@as_world_error("the store cannot be kept", try_=ADVICE)
def keep_store(spec: StackSpec, stores: KeptStores, key: str, facts: Mapping[str, object]) -> KeptStore:
    """Stop target and store and keep a copy of the store's content under `key`; start the stack again afterwards.

    Raises WorldError where no copy can be kept, also for a target that keeps files of its own: a copy of the store
    alone would not agree with a new container of it.
    """
    runner = Subprocesses()
    engine = require_engine(runner)
    target, store = spec.topology.target.name, spec.topology.store.name
    owned.stop(engine, spec.project, [target], STOP_GRACE_S)
    if files := owned.own_files(engine, spec.project, target):
        raise WorldError(
            "the target keeps files of its own beside the store, so a copy of the store alone would not fit it",
            where=target,
            last_state=", ".join(files[:FILES_SHOWN]),
        )
    owned.stop(engine, spec.project, [store], STOP_GRACE_S)
    return stores.save(key, facts, store_content.copy_out(spec, engine, runner))


def status(spec: StackSpec) -> dict[str, str]:
    """The state of each service's container."""
    return owned.states(require_engine(Subprocesses()), spec.project, spec.topology.names)


def addresses(spec: StackSpec) -> dict[str, str]:
    """The addresses on this machine by port name; those of the MCP server include its endpoint."""
    topology = spec.topology
    target = topology.target.name
    at_target = {topology.direct_address(target), topology.link_to(target).through}
    return {
        port.name: f"{port.address}{spec.endpoint}" if port.address in at_target else port.address
        for port in topology.ports
    }


@as_world_error("not everything can be removed", try_=ADVICE)
def down_all(owner: str = owned.OWNER_VALUE) -> list[str]:
    """Remove every container, network and volume with the lab's label, the files of the volumes, and kept stores.

    Returns what was removed. Images and the other caches stay, because it takes minutes to make them.
    """
    runner = Subprocesses()
    removed = owned.remove_all(require_engine(runner), owner)
    if owner == owned.OWNER_VALUE:
        removed += store_volume.remove_all_images(runner)
        removed += KeptStores().remove_all()
        for project in saved_projects():
            forget(project)
    return removed
