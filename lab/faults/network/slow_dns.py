"""Answer every question for a name late, as an overloaded or distant name server does."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.faults.conflicts import NAMES
from lab.faults.network import proof
from lab.model.undo import RemoveChain
from lab.ports import Fault, Observation, World
from lab.ports.processes import LIFETIME_S

# How much later than the delay an answer may come and still count, and how far two clocks may differ.
LATE_S, CLOCK_MS = 1.0, 5.0
# The rules' counters are read before and after the questions, by a program that has 10 s each time.
COUNTERS_S = 20.0
CLEAN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class SlowDns(Fault):
    """Redirects all questions to a name server of the lab inside the service's network, which answers `delay_ms` late.

    After the delay it asks the resolver that the engine gives each container, so the answers are right. Open
    connections, and addresses that a process remembers, are not affected. The server ends by itself after 30 min.
    Source of the mechanism: iptables-extensions(8), DNAT.
    """

    kind: ClassVar[str] = "slow_dns"
    family: ClassVar[str] = "network"
    services: ClassVar[tuple[str, ...]] = ("mcp", "toxiproxy", "qdrant")
    needs: ClassVar[tuple[str, ...]] = ("root", "iptables", "nsenter")
    resources: ClassVar[tuple[str, ...]] = (NAMES,)
    lifetime_s: ClassVar[float] = LIFETIME_S
    # The name server starts within 15 s and ends within 5; the rules come and go within 10 s each.
    act_max_s: ClassVar[float] = 45.0

    target: Literal["mcp", "toxiproxy", "qdrant"]
    delay_ms: Annotated[int, Ge(200), Le(10_000)] = 2000

    @property
    def look_max_s(self) -> float:
        """The longest time in seconds that the questions of one observation may take, one after the other."""
        return COUNTERS_S + proof.TRIES * self._timeout_s

    @property
    def _timeout_s(self) -> float:
        return self.delay_ms / 1000 + LATE_S

    def prepare(self, world: World) -> RemoveChain:
        """The network must be there."""
        return proof.names_undo(world, self.target, self.kind)

    def inject(self, world: World, undo: RemoveChain) -> None:
        """Start the name server, then redirect the questions to it, except those that it asks itself."""
        port, asks_from = world.netns.delay_names(
            undo.service, undo.container_id, undo.token, self.delay_ms / 1000, LIFETIME_S
        )
        own = f"-p udp --sport {asks_from} -j RETURN"
        proof.redirect_names(world, undo, port, own)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when every question was redirected by the rules and is answered rightly, but after the delay.

        A resolver that is slow by itself proves nothing, because the rules count what they redirect.
        """
        counted = world.netns.packets(self.target, self.kind)
        took_ms, ends = [], []
        for _ in range(proof.TRIES):
            asked_ms = world.clock.now_ms()
            ends.append(world.netns.resolve(self.target, proof.NAME, self._timeout_s))
            took_ms.append(world.clock.now_ms() - asked_ms)
        redirected = world.netns.packets(self.target, self.kind) - counted
        answered = ends.count("address") == len(ends)
        late = min(took_ms) >= self.delay_ms - CLOCK_MS
        holds = before is not None and before.absent and answered and late and redirected >= len(ends)
        absent = answered and max(took_ms) <= CLEAN_SHARE * self.delay_ms
        message = f"asked for {proof.NAME!r}: {', '.join(ends)}; {redirected} questions were redirected"
        return Observation(min(took_ms), "ms until a name is found", holds, absent, message)

    @staticmethod
    def heal(world: World, undo: RemoveChain) -> None:
        """Remove the rules, then end the name server."""
        proof.remove(world, undo)


FAULT = SlowDns
