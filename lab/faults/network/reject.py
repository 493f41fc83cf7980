"""Refuse every connection to a service, as a host does on which no process listens."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from lab.faults.conflicts import CONNECTS
from lab.faults.network import proof
from lab.model.scenario import STOPS
from lab.model.undo import RemoveChain
from lab.ports import Fault, Observation, World

# By which services are called: the store's HTTP and gRPC, and the MCP server's.
PORTS = (6333, 6334, 8000)


@dataclass(frozen=True, slots=True)
class Reject(Fault):
    """Answers every TCP packet that arrives at the service's port with a reset, also on open connections.

    Toxiproxy keeps its control port. Source of the mechanism: iptables-extensions(8), REJECT with tcp-reset.
    """

    kind: ClassVar[str] = "reject"
    family: ClassVar[str] = "network"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")
    needs: ClassVar[tuple[str, ...]] = ("root", "iptables", "nsenter")
    resources: ClassVar[tuple[str, ...]] = (CONNECTS,)
    own_effect: ClassVar[str] = STOPS

    target: Literal["qdrant", "mcp", "toxiproxy"]

    def prepare(self, world: World) -> RemoveChain:
        """The network must be there."""
        return proof.chain_undo(world, self.target, self.kind)

    def inject(self, world: World, undo: RemoveChain) -> None:
        """Reset what arrives at the ports by which services are called; the calls of the service itself go on."""
        line = "-p tcp --dport {} -j REJECT --reject-with tcp-reset"
        proof.add(world, undo, ("INPUT ! -i lo",), *map(line.format, PORTS))

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when connects to it, which succeeded before, are refused, and the rules count them."""
        counted = world.netns.packets(self.target, self.kind)
        ends = world.netns.connects(self.target, proof.TRIES, proof.PATIENCE_S, outward=False)
        hits = world.netns.packets(self.target, self.kind) - counted
        refused, stood = (sum(end == kind for end in ends) for kind in ("refused", "connected"))
        holds = before is not None and before.absent and refused == len(ends) and hits >= len(ends)
        message = f"{stood} connected, {refused} refused of {len(ends)} connects; {hits} packets answered by the rule"
        return Observation(
            stood / len(ends), "share of connects that stood", holds, stood == len(ends), message
        )

    @staticmethod
    def heal(world: World, undo: RemoveChain) -> None:
        """Remove the rules."""
        proof.remove(world, undo)


FAULT = Reject
