"""Leave every question for a name unanswered, as a dead name server does."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from lab.faults.conflicts import NAMES
from lab.faults.network import proof
from lab.model.undo import RemoveChain
from lab.ports import Fault, Observation, World


@dataclass(frozen=True, slots=True)
class DnsFailure(Fault):
    """Drops what arrives at the resolver that the engine gives each container, so that nobody is told anything.

    Dropped on arrival: a rule on the way out would be reported to the asker at once. Connections that are open, and
    addresses that a process remembers, are not hurt. Source of the mechanism: iptables(8), DROP.
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
        """In force when a name of the stack, which was known before, is asked for and nothing comes."""
        return proof.names(world, self.target, before, "silent")

    @staticmethod
    def heal(world: World, undo: RemoveChain) -> None:
        """Remove the rule."""
        proof.remove(world, undo)


FAULT = DnsFailure
