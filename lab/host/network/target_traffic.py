"""The target's own TCP connections, counted by where they lead: through the proxies of the stack or past them."""

import ipaddress
import os
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import FaultError, WorldError
from lab.host.network.namespaces import belongs, namespace_of
from lab.host.network.sock_diag import ESTABLISHED, SYN_SENT, Connection, SocketDiagnosis, plain
from lab.host.processes.process_handle import started_ticks
from lab.model.samples import ENTRANCE, OTHER, PAST, STORE, Traffic
from lab.model.topology import Topology
from lab.ports import Clock, Containers, ContainerState

# The SYN and the FIN count as a byte each.
_EMPTY_BYTES = 2
_LOCAL_ADDRESS = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL")

# So many addresses beside the store are counted each on its own, and what follows under one name: a caller at another
# port of the target has another address each time.
_OTHERS_MAX = 50
_ELSEWHERE = "elsewhere"

# Where a connection leads: its route, and the proxy's name or the address.
Way = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Routes:
    """How a connection of the target is told from another: the stack's proxies, and the addresses of its services.

    `entrances` maps a carrier and a port of the target to the proxy that leads from there to here, `proxies` a carrier
    and its port to the proxy of a store that listens there.
    """

    entrances: Mapping[tuple[str, int], str]
    proxies: Mapping[tuple[str, int], str]
    addresses: Mapping[str, frozenset[str]]
    stores: tuple[str, ...]

    def way_of(self, connection: Connection) -> Way | None:
        """Where a connection leads; None for the loopback, and for a caller that comes past the proxies."""
        peer, port = connection.peer, connection.peer_port
        if ipaddress.ip_address(peer).is_loopback:
            return None
        for (carrier, listens), proxy in self.proxies.items():
            if port == listens and peer in self.addresses.get(carrier, ()):
                return STORE, proxy
        for (carrier, serves), proxy in self.entrances.items():
            if connection.local_port == serves and peer in self.addresses.get(carrier, ()):
                return ENTRANCE, proxy
        if any(connection.local_port == serves for _, serves in self.entrances):
            return None
        shown = f"[{peer}]" if ":" in peer else peer
        if any(peer in self.addresses.get(store, ()) for store in self.stores):
            return PAST, f"{shown}:{port}"
        return OTHER, f"{shown}:{port}"

    def proxied(self) -> list[Way]:
        """The ways through the proxies, which each reading tells of."""
        entrances = [(ENTRANCE, proxy) for proxy in self.entrances.values()]
        return [*entrances, *((STORE, proxy) for proxy in self.proxies.values())]


@dataclass(slots=True)
class _Counts:
    opened: int = 0
    ended: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    retransmitted: int = 0


@dataclass(slots=True)
class Ledger:
    """Adds up what connections carried; those that carried nothing count as long as they try, and then never again.

    Such are the lab's own: it connects from the target's network to learn whether a rule is in force.
    """

    closed: dict[Way, _Counts] = field(default_factory=lambda: defaultdict(_Counts))
    tried: set[int] = field(default_factory=set)

    def rows(
        self,
        at_ms: float,
        routes: Routes,
        there: Iterable[Connection],
        ended: Iterable[Connection],
        own: frozenset[int] = frozenset(),
    ) -> list[Traffic]:
        """One row for each way; `own` are the inodes of the lab's sockets."""
        last = {connection.cookie: connection for connection in ended}
        for connection in last.values():
            self._close(routes, connection)
        live: dict[Way, list[Connection]] = defaultdict(list)
        for connection in there:
            if connection.cookie in last or connection.inode in own:
                continue
            counts = self._counts(connection) or connection.state == ESTABLISHED
            if counts and (way := routes.way_of(connection)) is not None:
                live[way].append(connection)
        ways = [*routes.proxied(), *sorted({*live, *self.closed} - {*routes.proxied()})]
        return [self._row(at_ms, way, live[way]) for way in dict.fromkeys(ways)]

    def _counts(self, connection: Connection) -> bool:
        if connection.state == SYN_SENT:
            self.tried.add(connection.cookie)
        return connection.cookie in self.tried or _carried(connection)

    def _close(self, routes: Routes, connection: Connection) -> None:
        way = routes.way_of(connection)
        tried = connection.cookie in self.tried
        self.tried.discard(connection.cookie)
        if way is None or not (tried or _carried(connection)):
            return
        counts = self.closed[self._bounded(way)]
        counts.opened += 1
        counts.ended += 1
        counts.sent_bytes += connection.sent_bytes
        counts.received_bytes += connection.received_bytes
        counts.retransmitted += connection.retransmitted

    def _bounded(self, way: Way) -> Way:
        """The way under which a connection that ended is counted."""
        if way[0] != OTHER or way in self.closed:
            return way
        known = sum(route == OTHER for route, _ in self.closed)
        return way if known < _OTHERS_MAX else (OTHER, _ELSEWHERE)

    def _row(self, at_ms: float, way: Way, live: Sequence[Connection]) -> Traffic:
        closed = self.closed.get(way, _Counts())
        return Traffic(
            at_ms,
            *way,
            established=sum(connection.state == ESTABLISHED for connection in live),
            opened=closed.opened + sum(map(self._counts, live)),
            ended=closed.ended,
            sent_bytes=closed.sent_bytes + sum(connection.sent_bytes for connection in live),
            received_bytes=closed.received_bytes + sum(connection.received_bytes for connection in live),
            unanswered=sum(connection.unanswered for connection in live),
            retransmitted=closed.retransmitted + sum(connection.retransmitted for connection in live),
        )


def _carried(connection: Connection) -> bool:
    return connection.sent_bytes + connection.received_bytes > _EMPTY_BYTES


@dataclass(frozen=True, slots=True)
class _Network:
    """The network of a service, and the process by which it was found: its start time tells it from a later one."""

    holder: ContainerState
    started: float
    addresses: frozenset[str]

    @property
    def lives(self) -> bool:
        """Whether that process is still there, in its container."""
        return started_ticks(self.holder.pid) == self.started and belongs(self.holder.pid, self.holder.id)


class HostTraffic:
    """Implements `lab.ports.TargetTraffic` on one Docker host; this needs root. Safe to call from several threads."""

    def __init__(self, topology: Topology, containers: Containers, clock: Clock) -> None:
        self._topology, self._containers, self._clock = topology, containers, clock
        self._networks: dict[str, _Network] = {}
        self._diagnosed: tuple[_Network, SocketDiagnosis] | None = None
        self._ledger = Ledger()
        self._lock = threading.Lock()

    def read(self) -> Sequence[Traffic]:
        """Read every connection once."""
        with self._lock:
            diagnosis, routes = self._diagnosis(), self._routes()
            # Before and after, because the lab closes its own at any time.
            own = _own_sockets()
            # The open ones first: a connection that ends in between is then among both, and known by its cookie.
            there, at_ms = diagnosis.open_connections(), self._clock.now_ms()
            return self._ledger.rows(
                at_ms, routes, there, diagnosis.ended_connections(), own | _own_sockets()
            )

    def _diagnosis(self) -> SocketDiagnosis:
        network = self._network(self._topology.target.name)
        if self._diagnosed is not None and self._diagnosed[0] == network:
            return self._diagnosed[1]
        if self._diagnosed is not None:
            self._diagnosed[1].close()
            self._diagnosed = None
        with namespace_of(network.holder) as namespace:
            made = SocketDiagnosis(namespace)
        self._diagnosed = (network, made)
        return made

    def _routes(self) -> Routes:
        topology = self._topology
        target, stores = topology.target, topology.with_role("store")
        to_stores = [link for link in topology.links if link.behind in stores]
        to_target = [link for link in topology.links if link.behind == target.name]
        services = dict.fromkeys((*stores, *(link.carrier for link in (*to_stores, *to_target))))
        return Routes(
            entrances={(link.carrier, target.port): link.proxy for link in to_target},
            proxies={(link.carrier, link.listen): link.proxy for link in to_stores},
            addresses={service: self._addresses(service) for service in services},
            stores=stores,
        )

    def _addresses(self, service: str) -> frozenset[str]:
        """The addresses of a service; one that is down keeps those that it had."""
        try:
            return self._network(service).addresses
        except (FaultError, WorldError, OSError):
            known = self._networks.get(self._topology.network_of(service))
            return frozenset() if known is None else known.addresses

    def _network(self, service: str) -> _Network:
        """The network of a service; the engine is asked only where the process that was known has ended."""
        name = self._topology.network_of(service)
        known = self._networks.get(name)
        if known is not None and known.lives:
            return known
        state = self._containers.state(name)
        began = started_ticks(state.pid) if state.running and state.pid > 0 else None
        if began is None:
            raise FaultError(f"the network of {service} is down", where=state.name, try_="`lab status`")
        found = self._networks[name] = _Network(state, began, local_addresses(state.pid))
        return found


def local_addresses(pid: int) -> frozenset[str]:
    """The addresses of both families in the network namespace of a process, without those of the loopback."""
    network = Path(f"/proc/{pid}/net")
    found = set(_LOCAL_ADDRESS.findall((network / "fib_trie").read_text(encoding="ascii")))
    with suppress(FileNotFoundError):  # the kernel has no IPv6
        lines = (network / "if_inet6").read_text(encoding="ascii").splitlines()
        found |= {plain(bytes.fromhex(line.split()[0])) for line in lines}
    return frozenset(address for address in found if not ipaddress.ip_address(address).is_loopback)


def _own_sockets() -> frozenset[int]:
    """The inodes of the lab's own sockets, some of which it makes inside the target's network."""
    inodes: set[int] = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError, ValueError):
            inodes.add(int(os.readlink(f"/proc/self/fd/{name}").removeprefix("socket:[").removesuffix("]")))
    return frozenset(inodes)
