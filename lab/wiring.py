"""Builds the world of a stack from its specification; the only place that knows which adapter serves which port."""

import docker
from docker.errors import DockerException

from lab.adapters.cgroups import HostCgroups
from lab.adapters.containers import DockerContainers
from lab.adapters.provision import stack
from lab.adapters.provision.state import state_dir
from lab.adapters.reach import Reach
from lab.adapters.toxiproxy import Toxiproxy
from lab.adapters.undo_store import UndoFiles, is_alive
from lab.errors import WorldError
from lab.faults import discover
from lab.heal import Healed, heal_pending
from lab.ports import Clock, World


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


def world_of(client: docker.DockerClient, spec: stack.StackSpec, clock: Clock) -> World:
    """The world of a running stack."""
    containers = DockerContainers(client, spec.project)
    links = {"mcp": address(spec, "mcp"), "qdrant": f"{address(spec, 'qdrant_link')}/healthz"}
    health = {"mcp": address(spec, "mcp_direct"), "qdrant": f"{address(spec, 'qdrant')}/readyz"}
    return World(
        clock=clock,
        containers=containers,
        proxies=Toxiproxy(address(spec, "toxiproxy"), links),
        cgroups=HostCgroups(containers, clock),
        reach=Reach(health),
    )


def undo_files() -> UndoFiles:
    """The pending undos of this machine."""
    return UndoFiles(state_dir() / "undo")


def heal_leftovers(clock: Clock) -> list[Healed]:
    """Heal what dead runs left; asks the engine only when there is something to heal."""
    undos = undo_files()
    if not undos.pending():
        return []
    client = docker_client()

    def world(project: str) -> World | None:
        spec = stack.load(project)
        return None if spec is None else world_of(client, spec, clock)

    return heal_pending(undos, discover(), world, is_alive)
