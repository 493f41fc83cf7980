"""Lose a share of the packets of a service, as a bad cable or a crowded network does."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.faults.conflicts import PACKETS, network
from lab.faults.network import proof
from lab.faults.proof import plausible
from lab.model.scenario import Claim
from lab.model.topology import Topology
from lab.model.undo import RemoveChain, RemoveQdisc
from lab.ports import Fault, Observation, World
from lab.ports.netns import DEVICE

# At the least loss, two of so many requests or fewer are lost in 0.2 % of all looks.
ECHOES, SIZE_BYTES, PER_S, PATIENCE_S = 200, 64, 1000.0, 0.3
CLEAN = 1


@dataclass(frozen=True, slots=True)
class PacketLoss(Fault):
    """Loses each packet with probability `loss`: of those that arrive (`inbound`) or leave (`outbound`).

    What leaves is lost by the kernel's netem where it has that, else by a rule; what arrives always by a rule.
    Sources: iptables-extensions(8), statistic; tc-netem(8). Neither can be seeded.
    """

    kind: ClassVar[str] = "packet_loss"
    family: ClassVar[str] = "network"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")
    needs: ClassVar[tuple[str, ...]] = ("root", "iptables", "nsenter")

    target: Literal["qdrant", "mcp", "toxiproxy"]
    loss: Annotated[float, Ge(0.05), Le(0.9)] = 0.2
    direction: Literal["inbound", "outbound"] = "inbound"

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """All proof, for loss is seen in echoes that any other fault of the network could lose."""
        return network(topology, self.target, PACKETS)

    def prepare(self, world: World) -> RemoveChain | RemoveQdisc:
        """Choose the mechanism; a device that has a queueing discipline already is refused."""
        if self.direction == "outbound" and world.netns.has_netem():
            world.netns.require_plain(self.target, DEVICE)
            return RemoveQdisc(self.target, world.netns.holder_id(self.target), DEVICE, "netem")
        return proof.chain_undo(world, self.target, self.kind)

    def inject(self, world: World, undo: RemoveChain | RemoveQdisc) -> None:
        """Begin to lose."""
        if isinstance(undo, RemoveQdisc):
            options = ("loss", f"{self.loss:.4%}")
            world.netns.add_qdisc(undo.service, undo.container_id, undo.device, undo.kind, options)
            return
        hook = "INPUT ! -i lo" if self.direction == "inbound" else "OUTPUT ! -o lo"
        proof.add(world, undo, (hook,), f"-m statistic --mode random --probability {self.loss:.6f} -j DROP")

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when as many echo requests stay unanswered as that probability plausibly gives, and none before."""
        seen = world.netns.echo(self.target, ECHOES, SIZE_BYTES, PER_S, PATIENCE_S)
        lost = seen.sent - len(seen.arrivals_ms)
        likely = plausible(lost, seen.sent, self.loss)
        holds = before is not None and before.absent and lost > CLEAN and likely
        said = (
            f"{lost} of {seen.sent} echo requests unanswered, {self.loss * seen.sent:.0f} were to be expected"
        )
        return Observation(seen.lost_share, "share of echoes lost", holds, lost <= CLEAN, said)

    @staticmethod
    def heal(world: World, undo: RemoveChain | RemoveQdisc) -> None:
        """Remove the rule or the queueing discipline."""
        if isinstance(undo, RemoveQdisc):
            world.netns.remove_qdisc(undo.service, undo.container_id, undo.device, undo.kind)
            return
        proof.remove(world, undo)


FAULT = PacketLoss
