"""Cut a service off from all others, as a broken switch would: packets are lost silently."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from lab.faults.conflicts import CONNECTS, PACKETS, network
from lab.faults.network import proof
from lab.model.scenario import STOPS, Claim
from lab.model.topology import Topology
from lab.model.undo import RemoveChain
from lab.ports import Fault, Observation, World


@dataclass(frozen=True, slots=True)
class Partition(Fault):
    """Drops every packet between the service's network and any other, in both directions.

    Open connections stay open and go silent. Toxiproxy keeps its control port, by which other faults are healed.
    Source of the mechanism: iptables(8), DROP.
    """

    kind: ClassVar[str] = "partition"
    family: ClassVar[str] = "network"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")
    needs: ClassVar[tuple[str, ...]] = ("root", "iptables", "nsenter")
    own_effect: ClassVar[str] = STOPS

    target: Literal["qdrant", "mcp", "toxiproxy"]

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """All packets, and the connects by which it is measured."""
        return network(topology, self.target, PACKETS, CONNECTS)

    def prepare(self, world: World) -> RemoveChain:
        """The network must be there."""
        return proof.chain_undo(world, self.target, self.kind)

    def inject(self, world: World, undo: RemoveChain) -> None:
        """Drop all packets that arrive or leave, except on the loopback."""
        proof.add(world, undo, ("INPUT ! -i lo", "OUTPUT ! -o lo"), "-j DROP")

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when connects to it and from it, which succeeded before, get no answer, and the rules count them."""
        counted = world.netns.packets(self.target, self.kind)
        ends = [
            end
            for outward in (False, True)
            for end in world.netns.connects(self.target, proof.TRIES, proof.PATIENCE_S, outward=outward)
        ]
        dropped = world.netns.packets(self.target, self.kind) - counted
        silent, stood = (sum(end == kind for end in ends) for kind in ("silent", "connected"))
        # Each connect is dropped by one of the two rules, according to its direction.
        holds = before is not None and before.absent and silent == len(ends) and dropped >= len(ends)
        message = f"{stood} connected, {silent} silent of {len(ends)} connects; {dropped} packets dropped"
        return Observation(
            stood / len(ends), "share of connects that stood", holds, stood == len(ends), message
        )

    @staticmethod
    def heal(world: World, undo: RemoveChain) -> None:
        """Remove the rules; open connections go on, after their next retransmission."""
        proof.remove(world, undo)


FAULT = Partition
