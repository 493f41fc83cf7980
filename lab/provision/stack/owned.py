"""The containers, networks and volumes that carry the lab's labels; nothing else is ever touched."""

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
    """A client of the engine; what it raises is a WorldError that says which engine refused."""
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
    """The ids of a stack's containers, running or not."""
    with _client(engine) as client:
        return frozenset(str(container.id) for container in _containers(client, project))


def published_ports(engine: Engine, project: str) -> frozenset[int]:
    """The host ports that a stack's running containers hold."""
    with _client(engine) as client:
        bindings = [
            container.ports for container in _containers(client, project) if container.status == "running"
        ]
    hosts = [host for ports in bindings for published in ports.values() for host in published or []]
    return frozenset(int(host["HostPort"]) for host in hosts)


def states(engine: Engine, project: str, services: Sequence[str]) -> dict[str, str]:
    """For each service what the engine says of its container, with the exit status of one that ended."""
    with _client(engine) as client:
        found = {container.labels.get(SERVICE, ""): container for container in _containers(client, project)}
    return {service: _state(found.get(service)) for service in services}


def _state(container: Container | None) -> str:
    if container is None:
        return "absent"
    state: dict[str, Any] = container.attrs["State"]
    return f"exited {state['ExitCode']}" if state["Status"] == "exited" else str(state["Status"])


def why_dead(engine: Engine, project: str, service: str) -> str:
    """Nothing while the service's container runs, else what became of it."""
    state = states(engine, project, [service])[service]
    return "" if state in ("running", "created") else f"its container is {state}"


def kill(engine: Engine, project: str, services: Collection[str]) -> None:
    """SIGKILL to the running containers of these services, and wait until they are down; their data is
    unwanted.
    """
    with _client(engine) as client:
        for container in _containers(client, project):
            if container.labels.get(SERVICE) in services and container.status != "exited":
                container.kill()
                container.wait(timeout=20)


def last_words(engine: Engine, project: str, lines: int) -> str:
    """The last log lines of a stack's containers, those that ended first."""
    with _client(engine) as client:
        ordered = sorted(_containers(client, project), key=lambda container: container.status == "running")
        words = [
            f"--- {c.name} ({_state(c)}):\n{c.logs(tail=lines).decode('utf-8', 'replace')}" for c in ordered
        ]
    return "\n".join(words)


def remove_new(engine: Engine, project: str, before: Collection[str]) -> None:
    """Remove a stack's containers that are not in `before`, and its network and volumes when none is left."""
    with _client(engine) as client:
        containers = _containers(client, project)
        for container in containers:
            if container.id not in before:
                container.remove(force=True, v=True)
        if not before:
            _remove_rest(client, [f"{OWNER}={OWNER_VALUE}", f"{STACK}={project}"], keep=f"{project}_store")


def remove_all(engine: Engine, owner: str) -> list[str]:
    """Remove whatever carries the owner's label; returns the names."""
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
    """What somebody else removed in between is gone as well."""
    try:
        remove(**options)
    except NotFound:
        return
