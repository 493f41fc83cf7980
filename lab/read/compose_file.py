"""`compose/compose.yaml`, the one source of topology, as a `Topology`; `x-lab` says what compose has no word for.

The keys of `x-lab`, each for one service: `role`; `peer`, the service that calls it; `port`, where it does so (by
default the port that the service publishes); `health`, a path that only a live service answers; `page`, a path with a
small answer that is asked for through links; `links`, the configuration of the proxies that run in it.
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
_OF_SERVICE = "service:"

_Port = Annotated[int, Ge(1), Le(65535)]
_Path = Annotated[str, StringConstraints(pattern=r"^(/\S*)?$")]


class _Facts(BaseModel):
    """The `x-lab` part of one service."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    role: Role
    peer: str = ""
    port: _Port | None = None
    health: _Path | None = None
    page: _Path = ""
    links: str | None = None


class _Mount(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    type: str
    source: str
    target: str


class _ComposeService(BaseModel):
    """What is read of a compose service; the rest is for compose alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    facts: _Facts = Field(alias="x-lab")
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
    def behind(self) -> tuple[str, int]:
        """The service behind the proxy, and its port."""
        service, _, port = self.upstream.rpartition(":")
        return service, int(port)


class _ComposeFile(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    services: dict[str, _ComposeService]


_COMPOSE, _PROXIES = TypeAdapter(_ComposeFile), TypeAdapter(tuple[_Proxy, ...])


@dataclass(frozen=True, slots=True)
class _Files:
    """The compose file and the proxies' configurations by carrier, checked and not yet put together."""

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
    """The topology of a stack; raises ScenarioError, with file and line, for a file that does not say it.

    `ports` are the host ports by name (by default those of the file), `profiles` the compose profiles that are on,
    `images` the image files of compose volumes by name.
    """
    files = _read(path)
    on = {name: service for name, service in files.services.items() if _is_on(service, profiles)}
    published = tuple(_published(on, {**_defaults(on), **(ports or {})}))
    links = tuple(_links(on, files.proxies, published))
    services = tuple(_service(name, on, published, links, images or {}) for name in on)
    return Topology(project, services, published, links)


def default_ports(path: Path = COMPOSE_FILE) -> dict[str, int]:
    """The host port that the compose file gives to each published port when nobody asks for another."""
    return _defaults(_read(path).services)


@cache
def _read(path: Path) -> _Files:
    document = read(path, anchors=True)
    services = checked(document, _COMPOSE).services
    for name, service in services.items():
        for place, other in (
            (("x-lab", "peer"), service.facts.peer),
            (("network_mode",), _network(name, service)),
        ):
            if other and other not in services:
                where = document.where(("services", name, *place))
                raise ScenarioError(
                    f"there is no service {shown(other)}",
                    where=where,
                    try_=accepted(other, services, "services"),
                )
    carriers = {name: service.facts.links for name, service in services.items()}
    return _Files(
        services,
        {
            name: _proxies(path.parent / links, name, services)
            for name, links in carriers.items()
            if links is not None
        },
    )


def _proxies(path: Path, carrier: str, services: Mapping[str, _ComposeService]) -> tuple[_Proxy, ...]:
    """The proxies of a carrier; both ends of each must be published, or the lab could not measure it."""
    document = read(path)
    proxies = checked(document, _PROXIES)
    published = {(port.service, port.port) for port in _published(services, _defaults(services))}
    for number, proxy in enumerate(proxies):
        for key, end in (("listen", (carrier, proxy.listen_port)), ("upstream", proxy.behind)):
            if end not in published:
                raise ScenarioError(
                    f"the service {shown(end[0])} does not publish its port {end[1]}",
                    where=document.where((number, key)),
                    try_="publish it in the compose file, on 127.0.0.1",
                )
    return proxies


def _is_on(service: _ComposeService, profiles: Collection[str]) -> bool:
    return not service.profiles or any(profile in profiles for profile in service.profiles)


def _matched(port: str) -> re.Match[str]:
    found = _PORT.fullmatch(port)
    assert found is not None, "the shape has the same pattern"
    return found


def _defaults(services: Mapping[str, _ComposeService]) -> dict[str, int]:
    listed = (_matched(port) for service in services.values() for port in service.ports)
    return {port[1].lower(): int(port[2]) for port in listed}


def _network(name: str, service: _ComposeService) -> str:
    mode = service.network_mode
    return mode.removeprefix(_OF_SERVICE) if mode.startswith(_OF_SERVICE) else name


def _published(services: Mapping[str, _ComposeService], ports: Mapping[str, int]) -> Iterator[PublishedPort]:
    """A port of a network holder is the port of the service that runs in that network."""
    tenants = {_network(name, service): name for name, service in services.items() if service.network_mode}
    for name, service in services.items():
        for port in map(_matched, service.ports):
            address = f"http://{LOOPBACK}:{ports[port[1].lower()]}"
            yield PublishedPort(port[1].lower(), tenants.get(name, name), int(port[3]), address)


def _links(
    services: Mapping[str, _ComposeService],
    proxies: Mapping[str, tuple[_Proxy, ...]],
    published: Collection[PublishedPort],
) -> Iterator[Link]:
    addresses = {(port.service, port.port): port.address for port in published}
    for carrier, listed in proxies.items():
        for proxy in listed:
            yield Link(
                proxy=proxy.name,
                carrier=carrier,
                listen=proxy.listen_port,
                behind=proxy.behind[0],
                through=addresses[carrier, proxy.listen_port],
                direct=addresses[proxy.behind],
                page=services[proxy.behind[0]].facts.page,
            )


def _service(
    name: str,
    services: Mapping[str, _ComposeService],
    published: Collection[PublishedPort],
    links: Collection[Link],
    images: Mapping[str, Path],
) -> Service:
    found, facts = services[name], services[name].facts
    listens = [link.listen for link in links if link.carrier == name]
    own = [port for port in published if port.service == name and port.port not in listens]
    mounts = [mount for mount in found.volumes if mount.type == "volume" and facts.role == "store"]
    return Service(
        name=name,
        role=facts.role,
        network=_network(name, found),
        peer=facts.peer,
        port=facts.port or (own[0].port if own and facts.peer else 0),
        health=f"{own[0].address}{facts.health}" if own and facts.health is not None else "",
        data=DataFolder(mounts[0].target, images.get(mounts[0].source)) if mounts else None,
    )
