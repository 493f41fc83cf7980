"""The network namespaces of the services: netfilter rules, queueing disciplines, and measurements from inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

# The network device that every service has in the stack's network.
DEVICE = "eth0"
# How one connect ended: it succeeded; it was refused (RST); nothing came back before the timeout.
ConnectOutcome = Literal["connected", "refused", "silent"]
# How one DNS query ended: with an address; with NXDOMAIN; with another error; with no answer before the timeout.
NameAnswer = Literal["address", "no_such_name", "failed", "silent"]


@dataclass(frozen=True, slots=True)
class Rules:
    """A netfilter chain of the lab: `jumps` (a hook chain and a match) lead to it, `lines` are its rules.

    The name of the chain belongs to one fault only, so the chain can be removed wherever it is found.
    """

    table: str
    chain: str
    jumps: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Echoes:
    """ICMP echo requests that a peer sent to a service, each an IP packet of `size_bytes`, and their answers.

    `arrivals_ms` says when each answer arrived, `trips_ms` how long after its own request.
    """

    sent: int
    size_bytes: int
    arrivals_ms: tuple[float, ...]
    trips_ms: tuple[float, ...] = ()

    @property
    def lost_share(self) -> float:
        """The share of requests that got no answer."""
        return 1 - len(self.arrivals_ms) / self.sent


class Netns(Protocol):
    """Enters a service's network namespace from the host; the host's own namespace is refused (FaultError).

    `container_id` is the container that holds the namespace. Chains and queueing disciplines of others are never
    touched. Only IPv4 is used, because the stack's network has nothing else.
    """

    def holder_id(self, service: str) -> str: ...
    def add_chain(self, service: str, container_id: str, rules: Rules) -> None: ...
    def remove_chain(self, service: str, container_id: str, table: str, chain: str) -> None: ...
    def packets(self, service: str, kind: str) -> int: ...
    def has_netem(self) -> bool: ...
    def require_plain(self, service: str, device: str) -> None: ...
    def add_qdisc(
        self, service: str, container_id: str, device: str, kind: str, options: Sequence[str]
    ) -> None: ...
    def remove_qdisc(self, service: str, container_id: str, device: str, kind: str) -> None: ...
    def connects(
        self, service: str, tries: int, timeout_s: float, *, outward: bool
    ) -> Sequence[ConnectOutcome]: ...
    def echo(self, service: str, count: int, size_bytes: int, per_s: float, timeout_s: float) -> Echoes: ...
    def resolve(self, service: str, name: str, timeout_s: float) -> NameAnswer: ...
    def deny_names(self, service: str, container_id: str, token: str, seconds: float) -> int: ...
    def delay_names(
        self, service: str, container_id: str, token: str, delay_s: float, seconds: float
    ) -> tuple[int, int]: ...
