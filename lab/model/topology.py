"""What one stack consists of: its services, who measures whom, its published ports, and its links.

A topology is a plain value. `lab.read.compose_file` reads it from `compose/compose.yaml`; another platform may make it
from something else. Nothing in it assumes that a role is played by exactly one service.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.errors import WorldError

# `network` services do nothing but hold a network namespace in which another service runs (docs/decisions/0003).
Role = Literal["target", "store", "proxy", "network", "monitoring"]
# What a run measures and faults may hit.
MEASURED: tuple[Role, ...] = ("target", "store", "proxy")


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Where a service keeps its data: the folder inside its container, and the lab's image file behind the device.

    `image` is None where the data lies on a file system that belongs to the host.
    """

    path: str
    image: Path | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One service of a stack.

    `network` names the service whose network namespace it uses, which is often its own. `peer` is the service that
    calls it, at `port`: reachability and packet loss are measured from the peer's network. Both are empty (0) where
    no service of the stack calls it. `health` is an address on this machine that only a live service answers.
    """

    name: str
    role: Role
    network: str
    peer: str = ""
    port: int = 0
    health: str = ""
    data: DataFolder | None = None


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port that the lab can reach: `port` inside the network of `service`, `address` on this machine."""

    name: str
    service: str
    port: int
    address: str


@dataclass(frozen=True, slots=True)
class Link:
    """A proxy between two services: it runs in `carrier`, listens there on `listen`, and leads to `behind`.

    `through` and `direct` are addresses of the service behind on this machine, through the proxy and past it. `page` is
    a path there that always has a small answer.
    """

    proxy: str
    carrier: str
    listen: int
    behind: str
    through: str
    direct: str
    page: str = ""

    @property
    def inside(self) -> str:
        """The address of the proxy inside the stack's network, where the load generator runs."""
        return f"http://{self.carrier}:{self.listen}"


@dataclass(frozen=True, slots=True)
class Topology:
    """One stack as the lab sees it; the order of `services` is that of the compose file."""

    project: str
    services: tuple[Service, ...]
    ports: tuple[PublishedPort, ...]
    links: tuple[Link, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all services."""
        return tuple(service.name for service in self.services)

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of the services that a run measures and that faults may hit."""
        return self.with_role(*MEASURED)

    @property
    def acted_on(self) -> tuple[str, ...]:
        """The names of the services that a fault can act on: those that are measured, and those that hold a network."""
        return self.with_role("network", *MEASURED)

    @property
    def target(self) -> Service:
        """The service under test; raises WorldError where the stack has none."""
        return self.service(self._first("target"))

    @property
    def store(self) -> Service:
        """The first store, which answers for all of them; raises WorldError where the stack has none."""
        return self.service(self._first("store"))

    @property
    def proxy(self) -> Service:
        """The first service that carries links; raises WorldError where the stack has none."""
        return self.service(self._first("proxy"))

    @property
    def entrance(self) -> Link:
        """The link that leads to the target: load and observers enter there."""
        return self.link_to(self.target.name)

    def with_role(self, *roles: Role) -> tuple[str, ...]:
        """The names of the services that play one of these roles."""
        return self._where(lambda service: service.role in roles)

    def service(self, name: str) -> Service:
        """One service by its name; raises WorldError for a name that the stack does not know."""
        for service in self.services:
            if service.name == name:
                return service
        raise self._unknown("service", name, self.names)

    def network_of(self, service: str) -> str:
        """The name of the service that holds this service's network namespace."""
        return self.service(service).network

    def peer_of(self, service: str) -> str:
        """The service from whose network this one is measured; raises WorldError where there is none."""
        peer = self.service(service).peer
        if not peer:
            raise WorldError(
                f"no service of the stack calls {service}, so its network cannot be measured",
                where=f"stack {self.project}",
                try_="aim at a target, a store or a proxy",
            )
        return peer

    def measured_from(self, peer: str) -> tuple[str, ...]:
        """The services that are measured from the network of `peer`."""
        return self._where(lambda service: service.peer == peer)

    def link(self, proxy: str) -> Link:
        """One link by the name of its proxy; raises WorldError for a name that the stack does not know."""
        for link in self.links:
            if link.proxy == proxy:
                return link
        raise self._unknown("proxy", proxy, tuple(link.proxy for link in self.links))

    def link_to(self, service: str) -> Link:
        """The first link that leads to a service; raises WorldError where none does."""
        for link in self.links:
            if link.behind == service:
                return link
        raise self._unknown("link to the service", service, tuple(link.behind for link in self.links))

    def beside(self, proxy: str) -> tuple[str, ...]:
        """The other proxies that lead to the same service, each for another port of it."""
        behind = self.link(proxy).behind
        return tuple(link.proxy for link in self.links if link.behind == behind and link.proxy != proxy)

    def links_through(self, carrier: str) -> tuple[str, ...]:
        """The names of the proxies that run in a service."""
        return tuple(link.proxy for link in self.links if link.carrier == carrier)

    def port(self, name: str) -> PublishedPort:
        """One published port by its name; raises WorldError for a name that the stack does not know."""
        for port in self.ports:
            if port.name == name:
                return port
        raise self._unknown("published port", name, tuple(port.name for port in self.ports))

    def address(self, port: str, path: str = "") -> str:
        """The address on this machine of a published port."""
        return f"{self.port(port).address}{path}"

    def direct_address(self, service: str, path: str = "") -> str:
        """The address on this machine of a service, past all proxies; raises WorldError where it publishes none."""
        listens = {(link.carrier, link.listen) for link in self.links}
        own = [port for port in self.ports if (port.service, port.port) not in listens]
        for port in own:
            if port.service == service:
                return f"{port.address}{path}"
        published = tuple(dict.fromkeys(port.service for port in own))
        raise self._unknown("published port of the service", service, published)

    def _first(self, role: Role) -> str:
        for name in self.with_role(role):
            return name
        raise WorldError(f"the stack has no service with the role {role!r}", where=f"stack {self.project}")

    def _where(self, test: Callable[[Service], bool]) -> tuple[str, ...]:
        return tuple(service.name for service in self.services if test(service))

    def _unknown(self, what: str, name: str, known: tuple[str, ...]) -> WorldError:
        return WorldError(
            f"the stack has no {what} {name!r}",
            where=f"stack {self.project}",
            last_state=f"known: {', '.join(known)}",
        )
