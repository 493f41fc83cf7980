"""Network namespaces of the stack's services, entered from the host."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from lab.errors import FaultError, GoneError
from lab.host.audit import Audit, unaudited
from lab.host.machine.kernel import has_module
from lab.host.network import namespaces, net_probes, netfilter
from lab.host.processes.processes import HostProcesses
from lab.host.system_errors import as_fault_error
from lab.model.topology import Topology
from lab.ports import Containers, ContainerState
from lab.ports.netns import DEVICE, ConnectOutcome, Echoes, NameAnswer, Rules

# How many loopback ports are tried for a name server.
PORT_TRIES = 20


class HostNetns:
    """Implements `lab.ports.Netns`; this needs root, iptables and iproute2."""

    def __init__(
        self,
        topology: Topology,
        containers: Containers,
        processes: HostProcesses,
        audit: Audit = unaudited,
    ) -> None:
        self._topology = topology
        self._containers = containers
        self._processes = processes
        self._audit = audit

    def holder_id(self, service: str) -> str:
        """The id of the container that holds the service's network; raises FaultError if it does not run."""
        state = self._holder(service)
        if not state.running:
            raise FaultError(f"the network of {service} is down", where=state.name, try_="`lab up`")
        return state.id

    def add_chain(self, service: str, container_id: str, rules: Rules) -> None:
        """Add a chain in one transaction, to the network that the caller has seen before."""
        with self._namespace(service, container_id) as namespace:
            self._audit("added rules", f"network of {service}", f"{rules.table} {rules.chain}: {rules.lines}")
            netfilter.add_chain(namespace, rules)

    def remove_chain(self, service: str, container_id: str, table: str, chain: str) -> None:
        """Remove a chain and its jumps wherever the service's network may still exist; none is fine.

        Raises GoneError if the network was replaced, because the chain ended with it.
        """
        self._everywhere(
            service,
            f"removed rules {chain}",
            lambda namespace: netfilter.remove_chain(namespace, table, chain),
        )
        _require_same(self._holder(service), service, container_id)

    def packets(self, service: str, kind: str) -> int:
        """The number of packets that the chains of one fault kind have dropped, refused or redirected so far."""
        with self._namespace(service) as namespace:
            return netfilter.packets(namespace, chain_prefix(kind))

    def has_netem(self) -> bool:
        """True if the kernel has netem, a queueing discipline that loses packets."""
        return has_module("sch_netem", "CONFIG_NET_SCH_NETEM")

    def require_plain(self, service: str, device: str) -> None:
        """Raise FaultError if the device already has a queueing discipline of somebody, because it would be lost."""
        with self._namespace(service) as namespace:
            kind, handle = netfilter.qdisc_kind(namespace, device)
        if kind not in netfilter.PLAIN:
            raise FaultError(
                f"{device} of {service} has a queueing discipline already: {kind} {handle}",
                try_="`lab heal`; heal the other fault first",
            )

    def add_qdisc(
        self, service: str, container_id: str, device: str, kind: str, options: Sequence[str]
    ) -> None:
        """Add the lab's queueing discipline to the device."""
        with self._namespace(service, container_id) as namespace:
            self._audit("added a qdisc", f"{device} of {service}", f"{kind} {' '.join(options)}")
            netfilter.add_qdisc(namespace, device, kind, options)

    def remove_qdisc(self, service: str, container_id: str, device: str, kind: str) -> None:
        """Remove the lab's queueing discipline; none is fine, and one of somebody else is left alone."""
        self._everywhere(
            service,
            f"removed a qdisc {kind}",
            lambda namespace: netfilter.remove_qdisc(namespace, device, kind),
        )
        _require_same(self._holder(service), service, container_id)

    def connects(
        self, service: str, tries: int, timeout_s: float, *, outward: bool
    ) -> Sequence[ConnectOutcome]:
        """Connect from the peer's network to the service, or, if `outward`, from the service's network to its peer."""
        peer = self._topology.peer_of(service)
        near, far = (service, peer) if outward else (peer, service)
        with self._namespace(near) as here, self._namespace(far) as there:
            address = net_probes.address_of(there, DEVICE)
            return net_probes.connects(here, (address, self._topology.service(far).port), tries, timeout_s)

    def echo(self, service: str, count: int, size_bytes: int, per_s: float, timeout_s: float) -> Echoes:
        """Send echo requests from the peer's network to the service's network."""
        with self._namespace(self._topology.peer_of(service)) as here, self._namespace(service) as there:
            address = net_probes.address_of(there, DEVICE)
            return net_probes.echo(here, address, count, size_bytes, per_s, timeout_s)

    def resolve(self, service: str, name: str, timeout_s: float) -> NameAnswer:
        """Ask the resolver that the service uses for the address of a name."""
        with self._namespace(service) as namespace:
            return net_probes.resolve(namespace, name, timeout_s)

    def deny_names(self, service: str, container_id: str, token: str, seconds: float) -> int:
        """Start a name server that knows no name on the loopback of the service's network; returns its port."""
        return self._serve_names(service, container_id, token, "deny", _bound, seconds)[0]

    def delay_names(
        self, service: str, container_id: str, token: str, delay_s: float, seconds: float
    ) -> tuple[int, int]:
        """Start a name server there that asks the container's resolver after a delay.

        Returns its port, and the port from which it asks itself: such questions must not be led back to it.
        """
        port, _, asks_from = self._serve_names(
            service, container_id, token, "delay", _bound_and_asking, delay_s, seconds
        )
        return port, asks_from

    def _serve_names(
        self,
        service: str,
        container_id: str,
        token: str,
        act: str,
        make: Callable[[], tuple[socket.socket, ...]],
        *arguments: float,
    ) -> list[int]:
        """Start a name server of the lab, with sockets made inside the service's network; returns their ports."""
        state = self._holder(service)
        with ExitStack() as stack:
            namespace = stack.enter_context(self._namespace(service, container_id))
            with as_fault_error(
                f"no name server can listen in the network of {service}",
                where=state.name,
                try_="`lab status`",
            ):
                sockets = namespaces.inside(namespace, make)
            for made in sockets:
                stack.callback(made.close)
            handles = tuple(made.fileno() for made in sockets)
            self._processes.begin(token, state, act, *map(str, (*handles, *arguments)), keep=handles)
            return [int(made.getsockname()[1]) for made in sockets]

    def _holder(self, service: str) -> ContainerState:
        """The container that holds the service's network, as it is now."""
        return self._containers.state(self._topology.network_of(service))

    @contextmanager
    def _namespace(self, service: str, container_id: str | None = None) -> Iterator[int]:
        """Open the network of a service; with an id, only if exactly that container holds it."""
        holder = self._topology.network_of(service)
        containers = self._containers
        state = containers.state(holder) if container_id is None else containers.inspect(holder, container_id)
        with namespaces.namespace_of(state) as namespace:
            yield namespace

    def _everywhere(self, service: str, verb: str, remove: Callable[[int], bool]) -> None:
        """Call `remove` on the network of the holder and, if that is gone, of the service that may still use it."""
        done: set[int] = set()
        for name in dict.fromkeys((self._topology.network_of(service), service)):
            try:
                state = self._containers.state(name)
                if not state.running:
                    continue
                with namespaces.namespace_of(state) as namespace:
                    if (number := netfilter.inode(namespace)) in done:
                        continue
                    done.add(number)
                    if remove(namespace):
                        self._audit(verb, f"network of {name}", "")
            except GoneError:
                continue


def _require_same(state: ContainerState, service: str, container_id: str) -> None:
    if state.id != container_id:
        raise GoneError(
            f"the network of {service} is no longer the same; somebody replaced {state.name}",
            where=state.name,
            last_state=f"was {container_id[:12]}, is {state.id[:12]}",
            try_="run again with nothing else managing the stack",
        )


def chain_prefix(kind: str) -> str:
    """The beginning of the chain names of a fault kind; iptables allows 28 characters."""
    return f"LAB-{kind.replace('_', '-')}-"


def _bound() -> tuple[socket.socket, socket.socket]:
    """A UDP socket and a TCP listener on the same loopback port; child processes inherit both."""
    for _ in range(PORT_TRIES):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            udp.bind(("127.0.0.1", 0))
            tcp.bind(udp.getsockname())
            tcp.listen()
        except OSError:
            udp.close()
            tcp.close()
            continue
        for made in (udp, tcp):
            os.set_inheritable(made.fileno(), True)
        return udp, tcp
    raise FaultError(
        "no loopback port is free for a name server",
        where="the network of a service",
        last_state=f"{PORT_TRIES} tried",
        try_="`lab down && lab up`",
    )


def _bound_and_asking() -> tuple[socket.socket, ...]:
    """The sockets of `_bound`, and a UDP socket that is connected to the container's resolver."""
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.bind(("127.0.0.1", 0))
    asking.connect(net_probes.RESOLVER)
    os.set_inheritable(asking.fileno(), True)
    return (*_bound(), asking)
