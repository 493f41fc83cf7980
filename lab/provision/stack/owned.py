"""Finds and removes the containers, networks and volumes with the lab's labels; others are never touched."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import docker
from docker.errors import NotFound
from docker.models.containers import Container

from lab.host.labels import OWNER, OWNER_VALUE, SERVICE, STACK
from lab.host.system_errors import as_world_error
from lab.provision.machine.engine import Engine

__all__ = ["OWNER_VALUE"]


@contextmanager
def _client(engine: Engine) -> Iterator[docker.DockerClient]:
    """A client of the engine; its exceptions become a WorldError that names the engine."""
    with as_world_error(
        "the Docker engine refused, or does not answer", where=engine.host, try_="`lab doctor`"
    ):
        client = engine.client()
        try:
            yield client
        finally:
            client.close()


def _containers(client: docker.DockerClient, project: str, owner: str = OWNER_VALUE) -> list[Container]:
    labels = [f"{OWNER}={owner}", f"{STACK}={project}"]
    found: list[Container] = client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
    return found


def container_ids(engine: Engine, project: str) -> frozenset[str]:
    """The ids of a stack's containers, whether they run or not."""
    with _client(engine) as client:
        return frozenset(str(container.id) for container in _containers(client, project))


def published_ports(engine: Engine, project: str) -> frozenset[int]:
    """The host ports that a stack's running containers publish."""
    with _client(engine) as client:
        bindings = [
            container.ports for container in _containers(client, project) if container.status == "running"
        ]
    hosts = [host for ports in bindings for published in ports.values() for host in published or []]
    return frozenset(int(host["HostPort"]) for host in hosts)


def states(engine: Engine, project: str, services: Sequence[str]) -> dict[str, str]:
    """The state of each service's container, with the exit status if it has ended."""
    with _client(engine) as client:
        found = {container.labels.get(SERVICE, ""): container for container in _containers(client, project)}
    return {service: _state(found.get(service)) for service in services}


def _state(container: Container | None) -> str:
    if container is None:
        return "absent"
    state: dict[str, Any] = container.attrs["State"]
    return f"exited {state['ExitCode']}" if state["Status"] == "exited" else str(state["Status"])


def why_dead(engine: Engine, project: str, service: str) -> str:
    """Why a service's container does not run; empty while it runs."""
    state = states(engine, project, [service])[service]
    return "" if state in ("running", "created") else f"its container is {state}"


def kill(engine: Engine, project: str, services: Collection[str]) -> None:
    """Send SIGKILL to the running containers of these services and wait for their end; their data is not needed."""
    with _client(engine) as client:
        for container in _containers(client, project):
            if container.labels.get(SERVICE) in services and container.status != "exited":
                container.kill()
                container.wait(timeout=20)


def last_log_lines(engine: Engine, project: str, lines: int) -> str:
    """The last log lines of a stack's containers; containers that have ended come first."""
    with _client(engine) as client:
        ordered = sorted(_containers(client, project), key=lambda container: container.status == "running")
        texts = [
            f"--- {c.name} ({_state(c)}):\n{c.logs(tail=lines).decode('utf-8', 'replace')}" for c in ordered
        ]
    return "\n".join(texts)


def remove_new(engine: Engine, project: str, before: Collection[str]) -> None:
    """Remove a stack's containers that are not in `before`; if `before` is empty, also its network and volumes."""
    with _client(engine) as client:
        containers = _containers(client, project)
        for container in containers:
            if container.id not in before:
                container.remove(force=True, v=True)
        if not before:
            _remove_rest(client, [f"{OWNER}={OWNER_VALUE}", f"{STACK}={project}"], keep=f"{project}_store")


def remove_all(engine: Engine, owner: str) -> list[str]:
    """Remove everything with the owner's label; returns the names."""
    label = f"{OWNER}={owner}"
    with _client(engine) as client:
        containers = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        for container in containers:
            _without_race(container.remove, force=True, v=True)
        removed = [f"container {container.name}" for container in containers]
        return removed + _remove_rest(client, [label])


def _remove_rest(client: docker.DockerClient, labels: list[str], keep: str = "") -> list[str]:
    removed = []
    for network in client.networks.list(filters={"label": labels}):
        _without_race(network.remove)
        removed.append(f"network {network.name}")
    for volume in client.volumes.list(filters={"label": labels}):
        if volume.name != keep:
            _without_race(volume.remove)
            removed.append(f"volume {volume.name}")
    return removed


def _without_race(remove: Any, **options: Any) -> None:
    """Call `remove`; it is fine if somebody else was faster."""
    try:
        remove(**options)
    except NotFound:
        return
