"""Answer every question for a name with "no such name", as a wrong or emptied zone does."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from lab.faults.conflicts import NAMES
from lab.faults.network import proof
from lab.model.undo import RemoveChain
from lab.ports import Fault, Observation, World
from lab.ports.processes import LIFETIME_S


@dataclass(frozen=True, slots=True)
class DnsNxdomain(Fault):
    """Redirects all questions to a name server of the lab inside the service's network, which answers NXDOMAIN.

    Open connections, and addresses that a process remembers, are not affected. The server ends by itself after 30 min.
    Source of the mechanism: iptables-extensions(8), DNAT.
    """

    kind: ClassVar[str] = "dns_nxdomain"
    family: ClassVar[str] = "network"
    services: ClassVar[tuple[str, ...]] = ("mcp", "toxiproxy", "qdrant")
    needs: ClassVar[tuple[str, ...]] = ("root", "iptables", "nsenter")
    resources: ClassVar[tuple[str, ...]] = (NAMES,)
    lifetime_s: ClassVar[float] = LIFETIME_S
    # The name server starts within 15 s and ends within 5; the rules come and go within 10 s each.
    act_max_s: ClassVar[float] = 45.0

    target: Literal["mcp", "toxiproxy", "qdrant"]

    def prepare(self, world: World) -> RemoveChain:
        """The network must be there."""
        return proof.names_undo(world, self.target, self.kind)

    def inject(self, world: World, undo: RemoveChain) -> None:
        """Start the name server, then redirect the questions to it."""
        port = world.netns.deny_names(undo.service, undo.container_id, undo.token, LIFETIME_S)
        proof.redirect_names(world, undo, port)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when every answer says that a name of the stack does not exist, and it was found before."""
        return proof.names(world, self.target, before, "no_such_name")

    @staticmethod
    def heal(world: World, undo: RemoveChain) -> None:
        """Remove the rules, then end the name server."""
        proof.remove(world, undo)


FAULT = DnsNxdomain
