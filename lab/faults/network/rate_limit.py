"""Let a service send only so much a second, as a thin line or a throttled machine does."""

import math
import statistics
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.faults.conflicts import network
from lab.model.scenario import Claim
from lab.model.topology import Topology
from lab.model.undo import RemoveQdisc
from lab.ports import Fault, Observation, World
from lab.ports.netns import DEVICE, Echoes

SIZE_BYTES, FRAME_BYTES = 1000, 1014
# Asked is twice what may pass, for half a second, and for a moment more than what passes at once.
FACTOR, DEMAND_S, PATIENCE_S = 2.0, 0.5, 0.5
TOLERANCE, FREE, WHOLE = 1.1, 1.6, 0.95
BURST_S, QUEUE = 0.02, "200ms"
# Half of the answers wait longer than 180 ms then; at 10 Mbit/s 47 ms, for a kernel has at most some 57 echo replies
# under way. Without a queue it is 0.1 ms.
WAITED_MS = 20.0
# A bucket must hold one packet of the largest size.
BURST_BYTES_MIN = 3200


@dataclass(frozen=True, slots=True)
class RateLimit(Fault):
    """Limits all that leaves the service's network to `rate_kbit_per_s`; what waits longer than 0.2 s is lost.

    Source of the mechanism: tc-tbf(8).
    """

    kind: ClassVar[str] = "rate_limit"
    family: ClassVar[str] = "network"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")
    needs: ClassVar[tuple[str, ...]] = ("root", "nsenter", "tbf")

    target: Literal["qdrant", "mcp", "toxiproxy"]
    rate_kbit_per_s: Annotated[int, Ge(64), Le(10_000)] = 1000

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """All packets."""
        return network(topology, self.target)

    def prepare(self, world: World) -> RemoveQdisc:
        """The device must be without a queueing discipline: the kernel knows one at its root."""
        world.netns.require_plain(self.target, DEVICE)
        return RemoveQdisc(self.target, world.netns.holder_id(self.target), DEVICE, "tbf")

    def inject(self, world: World, undo: RemoveQdisc) -> None:
        """Begin to limit."""
        options = ("rate", f"{self.rate_kbit_per_s}kbit", "burst", f"{self._burst_bytes()}", "latency", QUEUE)
        world.netns.add_qdisc(undo.service, undo.container_id, undo.device, undo.kind, options)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """Ask for twice the rate: in force when the answers come at the rate or slower, and came all of them before.

        And when most of them stood in a queue: were it the asker that stood still, only those under way would be late.
        """
        per_s = FACTOR * self._bytes_per_s() / FRAME_BYTES
        count = max(8, math.ceil(per_s * DEMAND_S + self._burst_bytes() / FRAME_BYTES))
        seen = world.netns.echo(self.target, count, SIZE_BYTES, per_s, PATIENCE_S)
        rate, waited_ms = self._rate_and_wait_ms(seen)
        share = 1 - seen.lost_share
        holds = before is not None and before.absent and 0 < rate <= TOLERANCE and waited_ms >= WAITED_MS
        said = f"{len(seen.arrivals_ms)} of {seen.sent} answers, at {rate:.2f} of the limit; asked was {FACTOR:g}"
        said += f"; half of them waited {waited_ms:.0f} ms or more"
        return Observation(rate, "times the limit", holds, share >= WHOLE and rate >= FREE, said)

    def _rate_and_wait_ms(self, seen: Echoes) -> tuple[float, float]:
        """Arrivals a second over the limit, and how much longer than the quickest half of them were under way.

        Both without those that the bucket lets through at once.
        """
        free = math.ceil(self._burst_bytes() / FRAME_BYTES) + 1
        counted, trips_ms = seen.arrivals_ms[free:], seen.trips_ms[free:]
        if len(counted) < 2:
            return 0.0, 0.0
        span_s = (counted[-1] - counted[0]) / 1000
        rate = (len(counted) - 1) * FRAME_BYTES / max(span_s, 1e-6) / self._bytes_per_s()
        return rate, statistics.median(trips_ms) - min(seen.trips_ms) if trips_ms else 0.0

    def _bytes_per_s(self) -> float:
        return self.rate_kbit_per_s * 1000 / 8

    def _burst_bytes(self) -> int:
        return max(BURST_BYTES_MIN, round(self._bytes_per_s() * BURST_S))

    @staticmethod
    def heal(world: World, undo: RemoveQdisc) -> None:
        """Remove the queueing discipline; what waits in it is lost, as on a line that is unplugged."""
        world.netns.remove_qdisc(undo.service, undo.container_id, undo.device, undo.kind)


FAULT = RateLimit
