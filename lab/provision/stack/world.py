"""Builds the world of a stack from its specification: the only place that knows which adapter serves which port."""

import docker
from docker.errors import DockerException

from lab.errors import WorldError
from lab.host.cgroups.cgroups import HostCgroups
from lab.host.containers import Audit, DockerContainers, unheard
from lab.host.links.toxiproxy import Toxiproxy
from lab.host.network.netns import HostNetns
from lab.host.processes.processes import HostProcesses
from lab.host.reach import Reach
from lab.host.storage import HostStorage
from lab.ports import Clock, World
from lab.provision.stack import stack


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
