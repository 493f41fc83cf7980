"""The stack from plan to end: start, stop, look, empty its store; the API that the rest of the lab uses."""

from collections.abc import Callable, Mapping
from pathlib import Path

from lab.errors import LabError, WorldError
from lab.host.machine.shell import Runner, Subprocesses
from lab.provision.images.image_specs import TARGET_SERVICE, ImageUsed
from lab.provision.machine.engine import Engine, require_engine
from lab.provision.machine.progress import Progress, silent
from lab.provision.stack import owned, store_volume
from lab.provision.stack.compose_cli import StackCompose
from lab.provision.stack.ports import DEFAULT_PORTS, chosen_ports, free_ports, require_free
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

__all__ = [
    "DEFAULT_PROJECT",
    "StackSpec",
    "addresses",
    "down_all",
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
ADDRESSES = {
    "mcp": "the MCP server, through its proxy",
    "mcp_direct": "the MCP server, past the proxy",
    "qdrant": "the vector store",
    "qdrant_link": "the vector store as the MCP server sees it",
    "toxiproxy": "Toxiproxy's API",
    "prometheus": "Prometheus",
    "grafana": "Grafana",
}


def plan_stack(
    project: str, target_dir: Path, images: Mapping[str, ImageUsed], ports: Ports = None
) -> StackSpec:
    """Decide everything about a stack and save it; starts nothing.

    `ports`: None for the defaults and the LAB_PORT_ variables, `"free"` for free ones, picked now. A stack that
    was planned before keeps its ports, unless a variable names another, and its store's volume. Raises WorldError for a
    taken port.
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
    require_free({name: port for name, port in needed_ports(spec).items() if port not in held})
    save(spec)
    return spec


def _ports(ports: Ports, before: StackSpec | None) -> dict[str, int]:
    if ports is None:
        return chosen_ports(defaults=before.ports if before is not None else None)
    if ports == "free":
        if before is not None:
            return dict(before.ports)
        others = [load(name) for name in saved_projects()]
        taken = {port for spec in others if spec for port in spec.ports.values()} | set(
            DEFAULT_PORTS.values()
        )
        return free_ports(DEFAULT_PORTS, taken)
    return {**chosen_ports(), **ports}


def needed_ports(spec: StackSpec) -> dict[str, int]:
    """The ports that this stack publishes."""
    return {name: port for name, port in spec.ports.items() if name != "grafana" or spec.grafana}


def start(
    spec: StackSpec, progress: Progress | None = None, *, ready: Callable[[str], bool] | None = None
) -> None:
    """Start the stack and wait until every part answers; what runs already as planned is left alone.

    `ready(url)` decides when the target serves its endpoint; by default any HTTP answer does. When it fails,
    the last log lines of the containers are in the WorldError, and what this start made is removed again.
    """
    progress, runner = progress or silent(), Subprocesses()
    engine = require_engine(runner)
    before = owned.container_ids(engine, spec.project)
    save(spec)
    made = store_volume.ensure(spec.volume, engine, runner)
    try:
        _bring_up(spec, engine, runner, progress, ready)
    except LabError as error:
        words = owned.last_words(engine, spec.project, LOG_LINES)
        owned.remove_new(engine, spec.project, before)
        if made:
            store_volume.remove(spec.volume, engine, runner)
        raise WorldError(
            f"the stack did not start: {error.what}",
            where=error.where,
            last_state="\n".join(part for part in (error.last_state, words) if part),
            try_=error.try_
            or "the containers' last lines above tell more; `lab doctor` looks at the machine",
        ) from error


def _bring_up(
    spec: StackSpec, engine: Engine, runner: Runner, progress: Progress, ready: Callable[[str], bool] | None
) -> None:
    """First what the target needs, then the target: it makes its collections when it starts, or gives up."""
    first = [service for service in spec.services if service != TARGET_SERVICE]
    with progress.step(f"starting {', '.join(first)}"):
        StackCompose(spec, engine, runner, first).start()
        _wait_for_backends(spec, engine)
    with progress.step(f"starting {TARGET_SERVICE} ({spec.target_dir.name})"):
        StackCompose(spec, engine, runner, [TARGET_SERVICE]).start()
        _wait_for_target(spec, engine, ready)


def _wait_for_backends(spec: StackSpec, engine: Engine) -> None:
    _wait(spec, engine, "qdrant", "qdrant", "/readyz", answers(spec.url("qdrant", "/readyz")))
    _wait(spec, engine, "toxiproxy", "toxiproxy", "/proxies", answers(spec.url("toxiproxy", "/proxies")))
    link = spec.url("qdrant_link")
    _wait(spec, engine, "qdrant", "qdrant_link", "/collections", takes_collections(link))
    _wait(spec, engine, "prometheus", "prometheus", "/-/ready", answers(spec.url("prometheus", "/-/ready")))
    if spec.grafana:
        _wait(spec, engine, "grafana", "grafana", "/api/health", answers(spec.url("grafana", "/api/health")))


def _wait(spec: StackSpec, engine: Engine, service: str, port: str, path: str, ask: Ask) -> None:
    wait_until(
        service,
        ask,
        where=spec.url(port, path),
        timeout_s=READY_TIMEOUT_S,
        alive=lambda: owned.why_dead(engine, spec.project, service),
    )


def _wait_for_target(spec: StackSpec, engine: Engine, ready: Callable[[str], bool] | None) -> None:
    url = spec.url("mcp_direct", spec.endpoint)
    wait_until(
        TARGET_SERVICE,
        answers(url, below=HTTP_STATUS_ANY)
        if ready is None
        else lambda: "" if ready(url) else "it does not serve yet",
        where=url,
        timeout_s=spec.start_timeout_s,
        alive=lambda: owned.why_dead(engine, spec.project, TARGET_SERVICE),
    )


def stop(spec: StackSpec, *, volumes: bool) -> None:
    """Remove the stack's containers and network; with `volumes` also its data and its saved plan."""
    runner = Subprocesses()
    engine = require_engine(runner)
    save(spec)
    StackCompose(spec, engine, runner).down(volumes=volumes)
    if volumes:
        store_volume.remove(spec.volume, engine, runner)
        forget(spec.project)


def reset_store(
    spec: StackSpec, progress: Progress | None = None, *, ready: Callable[[str], bool] | None = None
) -> None:
    """Put an empty store volume under the stack: stop target and store, empty it, start both, wait until
    ready.
    """
    progress, runner = progress or silent(), Subprocesses()
    engine = require_engine(runner)
    with progress.step("emptying the store's volume"):
        users = [TARGET_SERVICE, "qdrant"]
        owned.kill(engine, spec.project, users)
        if spec.store_kind == "ext4":
            store_volume.empty(spec.volume, runner)
        else:
            StackCompose(spec, engine, runner, users).remove()
            store_volume.remove(spec.volume, engine, runner)
    start(spec, progress, ready=ready)


def status(spec: StackSpec) -> dict[str, str]:
    """For each service of the stack: what its container does."""
    return owned.states(require_engine(Subprocesses()), spec.project, spec.services)


def addresses(spec: StackSpec) -> dict[str, str]:
    """The addresses on this machine by port name; the MCP server's include its endpoint."""
    paths = {"mcp": spec.endpoint, "mcp_direct": spec.endpoint}
    return {name: spec.url(name, paths.get(name, "")) for name in ADDRESSES if name in needed_ports(spec)}


def down_all(owner: str = owned.OWNER_VALUE) -> list[str]:
    """Remove every container, network and volume that carries the lab's label, and the files behind the
    volumes.

    Returns what was removed. Images stay: they take minutes to build and harm nobody.
    """
    runner = Subprocesses()
    removed = owned.remove_all(require_engine(runner), owner)
    if owner == owned.OWNER_VALUE:
        removed += store_volume.remove_all_images(runner)
        for project in saved_projects():
            forget(project)
    return removed
