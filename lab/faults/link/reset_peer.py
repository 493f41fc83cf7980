"""Reset connections, as a peer that crashed or a strict firewall would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import LINK
from lab.faults.link.toxic import Direction, Link, Signs, Toxic, Toxicity
from lab.model.undo import RemoveToxic
from lab.ports import Observation, World
from lab.ports.proxies import Comparison, Exchange, ExchangeResult

CLOCK_MS = 5.0


@dataclass(frozen=True, slots=True)
class ResetPeer(Toxic):
    """Resets (RST) every new connection `delay_ms` after its first data in one direction, and every open one at once.

    `toxicity` is the share of new connections that are hit; open ones are all reset when the fault is injected.
    Source: Toxiproxy's `reset_peer` toxic, which ends spared connections with a reset too, after their answers. It
    gives open ones an orderly close only: so these are reset on Toxiproxy's own sockets (root, Linux 5.6).
    """

    kind: ClassVar[str] = "reset_peer"
    needs: ClassVar[tuple[str, ...]] = ("root",)
    resources: ClassVar[tuple[str, ...]] = LINK

    target: Link
    delay_ms: Annotated[int, Ge(0), Le(60_000)] = 0
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    @property
    def attributes(self) -> dict[str, int]:
        """In milliseconds."""
        return {"timeout": self.delay_ms}

    @property
    def exchange(self) -> Exchange:
        """One small request."""
        return Exchange(timeout_s=10.0 + self.delay_ms / 1000)

    def prepare(self, world: World) -> RemoveToxic:
        """Also opens the connection on which the reset of open ones is seen."""
        world.proxies.open_held_connection(self.target)
        return Toxic.prepare(self, world)

    def inject(self, world: World, undo: RemoveToxic) -> None:
        """The toxic first: a client that was reset comes back at once, and must not find the link healthy."""
        Toxic.inject(self, world, undo)
        world.proxies.reset_connections(undo.proxy)

    def signs(self, world: World, compared: Comparison, before: Observation | None) -> Signs:
        """Hit: a new connection is reset before any answer, and the one that was open before was reset too."""
        kept = world.proxies.held_connection_end(self.target)

        def hit(result: ExchangeResult) -> bool:
            return kept == "reset" and _is_reset(result) and result.ended_ms >= self.delay_ms - CLOCK_MS

        def clean(result: ExchangeResult) -> bool:
            return result.end == "answered"

        def spared(result: ExchangeResult) -> bool:
            return result.end in ("answered", "reset") and result.received > 0

        share = sum(map(_is_reset, compared.through)) / len(compared.through)
        message = f"the connection that was open before: {kept or 'still open, or there was none'}"
        return Signs(share, "share of connections", message, hit, clean, spared)


def _is_reset(result: ExchangeResult) -> bool:
    return result.end == "reset" and result.received == 0


FAULT = ResetPeer
