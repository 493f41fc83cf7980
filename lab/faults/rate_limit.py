"""Let a service send only so much a second, as a thin line or a throttled machine does."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.model.undo import RemoveQdisc
from lab.ports import Observation, World
from lab.ports.netns import Echoes

DEVICE = "eth0"
SIZE_BYTES, FRAME_BYTES = 1000, 1014
# Asked is twice what may pass, for half a second, and for a moment more than what passes at once.
FACTOR, DEMAND_S, PATIENCE_S = 2.0, 0.5, 0.5
TOLERANCE, FREE, WHOLE = 1.1, 1.6, 0.95
BURST_S, QUEUE = 0.02, "200ms"
# A bucket must hold one packet of the largest size.
BURST_BYTES_MIN = 3200


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Limits all that leaves the service's network to `rate_kbit_per_s`; what waits longer than 0.2 s is lost.

    Source of the mechanism: tc-tbf(8).
    """

    kind: ClassVar[str] = "rate_limit"
    family: ClassVar[str] = "network"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")
    needs: ClassVar[tuple[str, ...]] = ("root", "nsenter", "tbf")
    transient: ClassVar[bool] = False

    target: Literal["qdrant", "mcp", "toxiproxy"]
    rate_kbit_per_s: Annotated[int, Ge(64), Le(10_000)] = 1000

    def prepare(self, world: World) -> RemoveQdisc:
        """The device must be without a queueing discipline: the kernel knows one at its root."""
        world.netns.require_plain(self.target, DEVICE)
        return RemoveQdisc(self.target, world.netns.holder_id(self.target), DEVICE, "tbf")

    def inject(self, world: World, undo: RemoveQdisc) -> None:
        """Begin to limit."""
        options = ("rate", f"{self.rate_kbit_per_s}kbit", "burst", f"{self._burst_bytes()}", "latency", QUEUE)
        world.netns.add_qdisc(undo.service, undo.container_id, undo.device, undo.kind, options)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """Ask for twice the rate: in force when the answers come at the rate or slower, and came all of them before."""
        per_s = FACTOR * self._bytes_per_s() / FRAME_BYTES
        count = max(8, math.ceil(per_s * DEMAND_S + self._burst_bytes() / FRAME_BYTES))
        seen = world.netns.echo(self.target, count, SIZE_BYTES, per_s, PATIENCE_S)
        rate = self._rate(seen)
        share = 1 - seen.lost_share
        holds = before is not None and before.absent and 0 < rate <= TOLERANCE
        said = f"{len(seen.arrivals_ms)} of {seen.sent} answers, at {rate:.2f} of the limit; asked was {FACTOR:g}"
        return Observation(rate, "times the limit", holds, share >= WHOLE and rate >= FREE, said)

    def _rate(self, seen: Echoes) -> float:
        """Arrivals a second over the limit, without those that the bucket lets through at once."""
        free = math.ceil(self._burst_bytes() / FRAME_BYTES) + 1
        counted = seen.arrivals_ms[free:]
        if len(counted) < 2:
            return 0.0
        span_s = (counted[-1] - counted[0]) / 1000
        return (len(counted) - 1) * FRAME_BYTES / max(span_s, 1e-6) / self._bytes_per_s()

    def _bytes_per_s(self) -> float:
        return self.rate_kbit_per_s * 1000 / 8

    def _burst_bytes(self) -> int:
        return max(BURST_BYTES_MIN, round(self._bytes_per_s() * BURST_S))

    @staticmethod
    def heal(world: World, undo: RemoveQdisc) -> None:
        """Remove the queueing discipline; what waits in it is lost, as on a line that is unplugged."""
        world.netns.remove_qdisc(undo.service, undo.container_id, undo.device, undo.kind)


FAULT = RateLimit
