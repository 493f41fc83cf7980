"""Lose a share of the packets of a service, as a bad cable or a crowded network does."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.faults.conflicts import PACKETS, network
from lab.faults.network import proof
from lab.faults.proof import plausible
from lab.model.scenario import DISTURBS, Claim
from lab.model.topology import Topology
from lab.model.undo import RemoveChain, RemoveQdisc
from lab.ports import Fault, Observation, World
from lab.ports.netns import DEVICE

# At the smallest loss, no more than two of these requests are lost in 0.2 % of all observations.
ECHOES, SIZE_BYTES, PER_S, PATIENCE_S = 200, 64, 1000.0, 0.3
CLEAN = 1


@dataclass(frozen=True, slots=True)
class PacketLoss(Fault):
    """Loses each packet with probability `loss`: of those that arrive (`inbound`) or leave (`outbound`).

    Packets that leave are lost by the kernel's netem if it has that, else by a rule; packets that arrive, by a rule.
    Sources: iptables-extensions(8), statistic; tc-netem(8). Neither can be seeded.
    """

    kind: ClassVar[str] = "packet_loss"
    family: ClassVar[str] = "network"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")
    needs: ClassVar[tuple[str, ...]] = ("root", "iptables", "nsenter")
    own_effect: ClassVar[str] = DISTURBS

    target: Literal["qdrant", "mcp", "toxiproxy"]
    loss: Annotated[float, Ge(0.05), Le(0.9)] = 0.2
    direction: Literal["inbound", "outbound"] = "inbound"

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """All packets: loss is measured by echo requests, which any other fault of the network could lose."""
        return network(topology, self.target, PACKETS)

    def prepare(self, world: World) -> RemoveChain | RemoveQdisc:
        """Choose the mechanism; raises FaultError where the device already has a queueing discipline."""
        if self.direction == "outbound" and world.netns.has_netem():
            world.netns.require_plain(self.target, DEVICE)
            return RemoveQdisc(self.target, world.netns.holder_id(self.target), DEVICE, "netem")
        return proof.chain_undo(world, self.target, self.kind)

    def inject(self, world: World, undo: RemoveChain | RemoveQdisc) -> None:
        """Add the rule or the queueing discipline."""
        if isinstance(undo, RemoveQdisc):
            options = ("loss", f"{self.loss:.4%}")
            world.netns.add_qdisc(undo.service, undo.container_id, undo.device, undo.kind, options)
            return
        hook = "INPUT ! -i lo" if self.direction == "inbound" else "OUTPUT ! -o lo"
        proof.add(world, undo, (hook,), f"-m statistic --mode random --probability {self.loss:.6f} -j DROP")

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when a plausible number of echo requests is lost for that probability, and none was lost before."""
        echoes = world.netns.echo(self.target, ECHOES, SIZE_BYTES, PER_S, PATIENCE_S)
        lost = echoes.sent - len(echoes.arrivals_ms)
        likely = plausible(lost, echoes.sent, self.loss)
        holds = before is not None and before.absent and lost > CLEAN and likely
        expected = self.loss * echoes.sent
        message = f"{lost} of {echoes.sent} echo requests unanswered, {expected:.0f} were to be expected"
        return Observation(echoes.lost_share, "share of echoes lost", holds, lost <= CLEAN, message)

    @staticmethod
    def heal(world: World, undo: RemoveChain | RemoveQdisc) -> None:
        """Remove the rule or the queueing discipline."""
        if isinstance(undo, RemoveQdisc):
            world.netns.remove_qdisc(undo.service, undo.container_id, undo.device, undo.kind)
            return
        proof.remove(world, undo)


FAULT = PacketLoss
