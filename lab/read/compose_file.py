"""Reads `compose/compose.yaml` and the proxies' configuration into a `Topology`. No other file describes the stack.

Compose has no key for some facts about a service. They stand under the service's key `x-lab`:

- `role`: what the service is for, such as `target` or `store`
- `peer`: the service that calls this one
- `port`: the port that the peer calls; by default the one that the service publishes
- `health`: a path that answers only while the service is alive
- `page`: a path with a small answer, which the lab requests through links
- `links`: the file that configures the proxies which run in this service
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from lab.errors import ScenarioError
from lab.model.topology import DataFolder, Link, PublishedPort, Role, Service, Topology
from lab.read.strict_yaml import accepted, checked, read, shown
from lab.repository import COMPOSE_FILE

LOOPBACK = "127.0.0.1"
_PORT = re.compile(r"127\.0\.0\.1:\$\{LAB_PORT_([A-Z0-9_]+):-([0-9]+)\}:([0-9]+)")
_SERVICE_MODE = "service:"

_Port = Annotated[int, Ge(1), Le(65535)]
_Path = Annotated[str, StringConstraints(pattern=r"^(/\S*)?$")]


class _LabKeys(BaseModel):
    """The values under `x-lab` of one service."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    role: Role
    peer: str = ""
    port: _Port | None = None
    health: _Path | None = None
    page: _Path = ""
    links: str | None = None


class _Mount(BaseModel):
    """One entry under `volumes` of a compose service."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    type: str
    source: str
    target: str


class _ComposeService(BaseModel):
    """The part of a compose service that the lab reads. Compose alone reads the rest."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    lab_keys: _LabKeys = Field(alias="x-lab")
    network_mode: str = ""
    profiles: tuple[str, ...] = ()
    ports: tuple[Annotated[str, StringConstraints(pattern=f"^{_PORT.pattern}$")], ...] = ()
    volumes: tuple[_Mount, ...] = ()


class _Proxy(BaseModel):
    """One proxy in Toxiproxy's configuration."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    name: str
    listen: Annotated[str, StringConstraints(pattern=r"^\S+:[0-9]+$")]
    upstream: Annotated[str, StringConstraints(pattern=r"^\S+:[0-9]+$")]

    @property
    def listen_port(self) -> int:
        return int(self.listen.rpartition(":")[2])

    @property
    def destination(self) -> tuple[str, int]:
        """The service that the proxy forwards to, and its port."""
        service, _, port = self.upstream.rpartition(":")
        return service, int(port)


class _ComposeFile(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    services: dict[str, _ComposeService]


_COMPOSE, _PROXIES = TypeAdapter(_ComposeFile), TypeAdapter(tuple[_Proxy, ...])


@dataclass(frozen=True, slots=True)
class _ParsedFiles:
    """The checked contents of the compose file, and of the proxies' configuration by the service that runs them."""

    services: Mapping[str, _ComposeService]
    proxies: Mapping[str, tuple[_Proxy, ...]]


def read_topology(
    project: str = "",
    *,
    ports: Mapping[str, int] | None = None,
    profiles: Collection[str] = (),
    images: Mapping[str, Path] | None = None,
    path: Path = COMPOSE_FILE,
) -> Topology:
    """Read the topology of a stack; raises ScenarioError, with file and line, if a file is wrong.

    `project` is the compose project. `ports` are the host ports by name; those of the file are the default. `profiles`
    are the compose profiles that are switched on. `images` are the disk image files of compose volumes, by volume name.
    """
    files = _read(path)
    enabled = {name: service for name, service in files.services.items() if _is_enabled(service, profiles)}
    published = tuple(_published(enabled, {**_default_ports(enabled), **(ports or {})}))
    links = tuple(_links(enabled, files.proxies, published))
    services = tuple(_service(name, enabled, published, links, images or {}) for name in enabled)
    return Topology(project, services, published, links)


def default_ports(path: Path = COMPOSE_FILE) -> dict[str, int]:
    """The default host port of each published port, by name."""
    return _default_ports(_read(path).services)


@cache
def _read(path: Path) -> _ParsedFiles:
    document = read(path, anchors=True)
    services = checked(document, _COMPOSE).services
    for name, service in services.items():
        for location, named in (
            (("x-lab", "peer"), service.lab_keys.peer),
            (("network_mode",), _network(name, service)),
        ):
            if named and named not in services:
                where = document.where(("services", name, *location))
                raise ScenarioError(
                    f"there is no service {shown(named)}",
                    where=where,
                    try_=accepted(named, services, "services"),
                )
    carriers = {name: service.lab_keys.links for name, service in services.items()}
    return _ParsedFiles(
        services,
        {
            name: _proxies(path.parent / links, name, services)
            for name, links in carriers.items()
            if links is not None
        },
    )


def _proxies(path: Path, carrier: str, services: Mapping[str, _ComposeService]) -> tuple[_Proxy, ...]:
    """The proxies that run in the service `carrier`.

    Both the port that a proxy listens on and the port that it forwards to must be published. The lab measures a link
    through the first and compares it with the second.
    """
    document = read(path)
    proxies = checked(document, _PROXIES)
    published = {(port.service, port.port) for port in _published(services, _default_ports(services))}
    for number, proxy in enumerate(proxies):
        for key, (service, port) in (
            ("listen", (carrier, proxy.listen_port)),
            ("upstream", proxy.destination),
        ):
            if (service, port) not in published:
                raise ScenarioError(
                    f"the service {shown(service)} does not publish its port {port}",
                    where=document.where((number, key)),
                    try_="publish it in the compose file, on 127.0.0.1",
                )
    return proxies


def _is_enabled(service: _ComposeService, profiles: Collection[str]) -> bool:
    return not service.profiles or any(profile in profiles for profile in service.profiles)


def _parsed_port(port: str) -> re.Match[str]:
    match = _PORT.fullmatch(port)
    assert match is not None, "pydantic has checked the same pattern before"
    return match


def _default_ports(services: Mapping[str, _ComposeService]) -> dict[str, int]:
    ports = (_parsed_port(port) for service in services.values() for port in service.ports)
    return {port[1].lower(): int(port[2]) for port in ports}


def _network(name: str, service: _ComposeService) -> str:
    """The service whose network this one uses: its own, or that of the service in `network_mode`."""
    mode = service.network_mode
    return mode.removeprefix(_SERVICE_MODE) if mode.startswith(_SERVICE_MODE) else name


def _published(services: Mapping[str, _ComposeService], ports: Mapping[str, int]) -> Iterator[PublishedPort]:
    """The published ports. Where one service only holds the network of another, its ports are those of the other."""
    users = {_network(name, service): name for name, service in services.items() if service.network_mode}
    for name, service in services.items():
        for port in map(_parsed_port, service.ports):
            address = f"http://{LOOPBACK}:{ports[port[1].lower()]}"
            yield PublishedPort(port[1].lower(), users.get(name, name), int(port[3]), address)


def _links(
    services: Mapping[str, _ComposeService],
    proxies: Mapping[str, tuple[_Proxy, ...]],
    published: Collection[PublishedPort],
) -> Iterator[Link]:
    addresses = {(port.service, port.port): port.address for port in published}
    for carrier, carried in proxies.items():
        for proxy in carried:
            yield Link(
                proxy=proxy.name,
                carrier=carrier,
                listen=proxy.listen_port,
                behind=proxy.destination[0],
                through=addresses[carrier, proxy.listen_port],
                direct=addresses[proxy.destination],
                page=services[proxy.destination[0]].lab_keys.page,
            )


def _service(
    name: str,
    services: Mapping[str, _ComposeService],
    published: Collection[PublishedPort],
    links: Collection[Link],
    images: Mapping[str, Path],
) -> Service:
    compose, lab_keys = services[name], services[name].lab_keys
    link_ports = [link.listen for link in links if link.carrier == name]
    own = [port for port in published if port.service == name and port.port not in link_ports]
    mounts = [mount for mount in compose.volumes if mount.type == "volume" and lab_keys.role == "store"]
    return Service(
        name=name,
        role=lab_keys.role,
        network=_network(name, compose),
        peer=lab_keys.peer,
        port=lab_keys.port or (own[0].port if own and lab_keys.peer else 0),
        health=f"{own[0].address}{lab_keys.health}" if own and lab_keys.health is not None else "",
        data=DataFolder(mounts[0].target, images.get(mounts[0].source)) if mounts else None,
    )
