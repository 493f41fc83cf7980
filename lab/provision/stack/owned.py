"""Finds and removes the containers, networks and volumes with the lab's labels; others are never touched."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import docker
from docker.errors import NotFound
from docker.models.containers import Container

from lab.errors import WorldError
from lab.host.labels import OWNER, OWNER_VALUE, SERVICE, STACK
from lab.host.system_errors import as_world_error
from lab.provision.machine.engine import Engine

__all__ = ["OWNER_VALUE"]

_PASSING_FOLDERS = (
    "/tmp/",
    "/var/tmp/",
    "/run/",
    "/var/run/",
    "/var/log/",
    "/var/cache/",
    "/dev/",
    "/proc/",
    "/sys/",
)
# With `init: true` the engine mounts its init program into the container.
_OF_THE_ENGINE = (
    "/usr/sbin/docker-init",
    "/sbin/docker-init",
    "/tmp",
    "/run",
    "/etc/hosts",
    "/etc/resolv.conf",
)


@contextmanager
def client_of(engine: Engine) -> Iterator[docker.DockerClient]:
    """A client of the engine; its exceptions become a WorldError that names the engine."""
    with as_world_error(
        "the Docker engine refused, or does not answer", where=engine.host, try_="`lab doctor`"
    ):
        client = engine.client()
        try:
            yield client
        finally:
            client.close()


def containers_of(client: docker.DockerClient, project: str, owner: str = OWNER_VALUE) -> list[Container]:
    """The containers of a stack, whether they run or not."""
    labels = [f"{OWNER}={owner}", f"{STACK}={project}"]
    found: list[Container] = client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
    return found


def container_ids(engine: Engine, project: str) -> frozenset[str]:
    """The ids of a stack's containers, whether they run or not."""
    with client_of(engine) as client:
        return frozenset(str(container.id) for container in containers_of(client, project))


def published_ports(engine: Engine, project: str) -> frozenset[int]:
    """The host ports that a stack's running containers publish."""
    with client_of(engine) as client:
        bindings = [
            container.ports for container in containers_of(client, project) if container.status == "running"
        ]
    hosts = [host for ports in bindings for published in ports.values() for host in published or []]
    return frozenset(int(host["HostPort"]) for host in hosts)


def states(engine: Engine, project: str, services: Sequence[str]) -> dict[str, str]:
    """The state of each service's container, with the exit status if it has ended."""
    with client_of(engine) as client:
        found = {container.labels.get(SERVICE, ""): container for container in containers_of(client, project)}
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
    with client_of(engine) as client:
        for container in containers_of(client, project):
            if container.labels.get(SERVICE) in services and container.status != "exited":
                container.kill()
                container.wait(timeout=20)


def stop(engine: Engine, project: str, services: Collection[str], grace_s: int) -> None:
    """Send SIGTERM to the running containers of these services, so that they write all they hold; wait for the end."""
    with client_of(engine) as client:
        for container in containers_of(client, project):
            if container.labels.get(SERVICE) in services and container.status != "exited":
                container.stop(timeout=grace_s)


def remove(engine: Engine, project: str, services: Collection[str]) -> None:
    """Kill and remove the containers of these services, with all that they hold outside of named volumes."""
    with client_of(engine) as client:
        for container in containers_of(client, project):
            if container.labels.get(SERVICE) in services:
                _without_race(container.remove, force=True, v=True)


def own_files(engine: Engine, project: str, service: str) -> list[str]:
    """The files that a service has written outside of the store's volume, caches and logs apart; its volumes too."""
    with client_of(engine) as client:
        container = container_of(client, project, service)
        changed = [str(change["Path"]) for change in container.diff() or []]
        volumes = [
            str(mount["Destination"]) for mount in container.attrs["Mounts"] if mount.get("RW") is not False
        ]
    return [*(f"{volume} (a volume)" for volume in volumes), *lasting(changed)]


def lasting(paths: Collection[str]) -> list[str]:
    """The changed paths of a container that may hold what a server knows: no folders above others, caches or logs."""
    folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    return sorted(path for path in paths if path not in folders and not _passing(path))


def _passing(path: str) -> bool:
    """Whether a file is one that any program can do without: temporary, cached, compiled, logged, or the engine's."""
    parts = PurePosixPath(path).parts
    return (
        path.startswith(_PASSING_FOLDERS)
        or path in _OF_THE_ENGINE
        or bool({".cache", "__pycache__"} & set(parts))
        or path.endswith((".pyc", ".log"))
    )


def container_of(client: docker.DockerClient, project: str, service: str) -> Container:
    """The container of a service, whether it runs or not; raises WorldError if there is none."""
    found = [c for c in containers_of(client, project) if c.labels.get(SERVICE) == service]
    if not found:
        raise WorldError(f"the stack has no container for {service!r}", where=project, try_="`lab up`")
    return found[0]


def last_log_lines(engine: Engine, project: str, lines: int) -> str:
    """The last log lines of a stack's containers; containers that have ended come first."""
    with client_of(engine) as client:
        ordered = sorted(containers_of(client, project), key=lambda container: container.status == "running")
        texts = [
            f"--- {c.name} ({_state(c)}):\n{c.logs(tail=lines).decode('utf-8', 'replace')}" for c in ordered
        ]
    return "\n".join(texts)


def remove_new(engine: Engine, project: str, before: Collection[str]) -> None:
    """Remove a stack's containers that are not in `before`; if `before` is empty, also its network and volumes."""
    with client_of(engine) as client:
        containers = containers_of(client, project)
        for container in containers:
            if container.id not in before:
                container.remove(force=True, v=True)
        if not before:
            _remove_rest(client, [f"{OWNER}={OWNER_VALUE}", f"{STACK}={project}"], keep=f"{project}_store")


def remove_all(engine: Engine, owner: str) -> list[str]:
    """Remove everything with the owner's label; returns the names."""
    label = f"{OWNER}={owner}"
    with client_of(engine) as client:
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
