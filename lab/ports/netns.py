"""The network namespaces of the stack's services: rules, queueing disciplines, and what can be reached from inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

# The network device that every service has in the stack's network.
DEVICE = "eth0"
# How one connect ended: it stood; it was refused (RST); nothing came back within the patience.
Met = Literal["connected", "refused", "silent"]
# How one question for a name ended: an address; NXDOMAIN; another error code; nothing within the patience.
Told = Literal["address", "no_such_name", "failed", "silent"]


@dataclass(frozen=True, slots=True)
class Rules:
    """A chain of the lab's own in a netfilter table: `jumps` (hook chain and match) lead there, `lines` are its rules.

    Its name belongs to one fault alone, so that it can be removed wherever it is found.
    """

    table: str
    chain: str
    jumps: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Echoes:
    """Echo requests of `size_bytes` (IP packet) sent to a service by a peer, and when each answer came, in ms.

    `trips_ms` is how long each of these answers was under way, from the sending of its own request.
    """

    sent: int
    size_bytes: int
    arrivals_ms: tuple[float, ...]
    trips_ms: tuple[float, ...] = ()

    @property
    def lost_share(self) -> float:
        """The share that was not answered."""
        return 1 - len(self.arrivals_ms) / self.sent


class Netns(Protocol):
    """Enters a service's network namespace from the host; the host's own is refused (FaultError).

    `container_id` is the container that holds the namespace. Chains and queueing disciplines that are not the lab's
    are never touched. IPv4 only: the stack's network has no other.
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
    def connects(self, service: str, tries: int, patience_s: float, *, outward: bool) -> Sequence[Met]: ...
    def echo(self, service: str, count: int, size_bytes: int, per_s: float, patience_s: float) -> Echoes: ...
    def resolve(self, service: str, name: str, patience_s: float) -> Told: ...
    def deny_names(self, service: str, container_id: str, token: str, seconds: float) -> int: ...
    def delay_names(
        self, service: str, container_id: str, token: str, delay_s: float, seconds: float
    ) -> tuple[int, int]: ...
