"""Builds the world of a stack on one Docker host; only this module knows which adapter implements which port."""

import docker

from lab.host.audit import Audit, unaudited
from lab.host.cgroups.cgroups import HostCgroups
from lab.host.containers import DockerContainers
from lab.host.links.service_links import ServiceLinks
from lab.host.links.toxiproxy import Toxiproxy
from lab.host.network.netns import HostNetns
from lab.host.network.target_traffic import HostTraffic
from lab.host.processes.processes import HostProcesses
from lab.host.reach import Reach
from lab.host.storage import HostStorage
from lab.host.system_errors import as_world_error
from lab.model.topology import Topology
from lab.ports import Clock, World


def docker_client() -> docker.DockerClient:
    """A client of the Docker engine; raises WorldError if no engine answers."""
    with as_world_error("no Docker engine answers", try_="`lab up`, or `lab doctor`"):
        client = docker.from_env()
        client.ping()
    return client


def world_of(
    client: docker.DockerClient,
    topology: Topology,
    clock: Clock,
    *,
    run_id: str = "by-hand",
    audit: Audit = unaudited,
) -> World:
    """The world of a running stack; it calls `audit` with act, object and detail before each effect.

    Load that exists only for one measurement is not audited, because the journal has each measurement with its
    parameters.
    """
    containers = DockerContainers(client, topology.project, audit)
    processes = HostProcesses(run_id, audit)
    return World(
        topology=topology,
        clock=clock,
        containers=containers,
        proxies=_proxies(topology, containers, audit),
        cgroups=HostCgroups(containers, clock, audit),
        reach=Reach({service.name: service.health for service in topology.services if service.health}),
        netns=HostNetns(topology, containers, processes, audit),
        processes=processes,
        storage=_storage(topology, containers, audit),
        traffic=HostTraffic(topology, containers, clock),
    )


def _proxies(topology: Topology, containers: DockerContainers, audit: Audit) -> ServiceLinks:
    carrier = topology.proxy.name
    links = [link for link in topology.links if link.carrier == carrier]
    single = Toxiproxy(
        topology.direct_address(carrier),
        {link.proxy: f"{link.through}{link.page}" for link in links},
        direct={link.proxy: link.direct for link in links},
        audit=audit,
        containers=containers,
        service=carrier,
    )
    return ServiceLinks(single, {link.proxy: topology.beside(link.proxy) for link in links})


def _storage(topology: Topology, containers: DockerContainers, audit: Audit) -> HostStorage:
    data = {service.name: service.data for service in topology.services if service.data is not None}
    images = {name: folder.image for name, folder in data.items() if folder.image is not None}
    return HostStorage(containers, {name: folder.path for name, folder in data.items()}, images, audit)
