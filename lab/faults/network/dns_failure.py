"""Leave every question for a name unanswered, as a dead name server does."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from lab.faults.conflicts import NAMES
from lab.faults.network import proof
from lab.model.undo import RemoveChain
from lab.ports import Fault, Observation, World


@dataclass(frozen=True, slots=True)
class DnsFailure(Fault):
    """Drops every question on its arrival at the resolver that the engine gives each container.

    A rule for outgoing packets would not work, because the kernel reports the drop to the client at once. Open
    connections, and addresses that a process remembers, are not affected. Source of the mechanism: iptables(8), DROP.
    """

    kind: ClassVar[str] = "dns_failure"
    family: ClassVar[str] = "network"
    services: ClassVar[tuple[str, ...]] = ("mcp", "toxiproxy", "qdrant")
    needs: ClassVar[tuple[str, ...]] = ("root", "iptables", "nsenter")
    resources: ClassVar[tuple[str, ...]] = (NAMES,)

    target: Literal["mcp", "toxiproxy", "qdrant"]

    def prepare(self, world: World) -> RemoveChain:
        """The network must be there."""
        return proof.chain_undo(world, self.target, self.kind)

    def inject(self, world: World, undo: RemoveChain) -> None:
        """Drop the questions."""
        proof.add(world, undo, ("INPUT -i lo -d 127.0.0.11",), "-j DROP", spare_control=False)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when no question for a name of the stack is answered, and each was answered before."""
        return proof.names(world, self.target, before, "silent")

    @staticmethod
    def heal(world: World, undo: RemoveChain) -> None:
        """Remove the rule."""
        proof.remove(world, undo)


FAULT = DnsFailure
