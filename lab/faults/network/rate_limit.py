"""Limit how much a service sends each second, as a thin line or a throttled machine does."""

import math
import statistics
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.faults.conflicts import network
from lab.model.scenario import DISTURBS, Claim
from lab.model.topology import Topology
from lab.model.undo import RemoveQdisc
from lab.ports import Fault, Observation, World
from lab.ports.netns import DEVICE, Echoes

SIZE_BYTES, FRAME_BYTES = 1000, 1014
# The proof asks for twice the rate, for half a second, and beyond what the bucket lets through at once.
FACTOR, DEMAND_S, PATIENCE_S = 2.0, 0.5, 0.5
TOLERANCE, FREE, WHOLE = 1.1, 1.6, 0.95
BURST_S, QUEUE = 0.02, "200ms"
# With the limit, half of the answers wait longer than 180 ms; at 10 Mbit/s 47 ms, because a kernel has no more than
# about 57 echo replies under way. Without a queue it is 0.1 ms.
WAITED_MS = 20.0
BURST_BYTES_MIN = 3200  # one packet of the largest size


@dataclass(frozen=True, slots=True)
class RateLimit(Fault):
    """Limits all that leaves the service's network to `rate_kbit_per_s`; packets that wait longer than 0.2 s are lost.

    Source of the mechanism: tc-tbf(8).
    """

    kind: ClassVar[str] = "rate_limit"
    family: ClassVar[str] = "network"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")
    needs: ClassVar[tuple[str, ...]] = ("root", "nsenter", "tbf")
    own_effect: ClassVar[str] = DISTURBS

    target: Literal["qdrant", "mcp", "toxiproxy"]
    rate_kbit_per_s: Annotated[int, Ge(64), Le(10_000)] = 1000

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """All packets."""
        return network(topology, self.target)

    def prepare(self, world: World) -> RemoveQdisc:
        """Raises FaultError where the device has a queueing discipline already: the kernel allows one at its root."""
        world.netns.require_plain(self.target, DEVICE)
        return RemoveQdisc(self.target, world.netns.holder_id(self.target), DEVICE, "tbf")

    def inject(self, world: World, undo: RemoveQdisc) -> None:
        """Add the queueing discipline."""
        options = ("rate", f"{self.rate_kbit_per_s}kbit", "burst", f"{self._burst_bytes()}", "latency", QUEUE)
        world.netns.add_qdisc(undo.service, undo.container_id, undo.device, undo.kind, options)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """Ask for twice the rate: in force when the answers come no faster than the rate, and all of them came before.

        Most of the answers must also have waited in a queue: if the client itself was stalled, only those that
        were under way at that time would be late.
        """
        per_s = FACTOR * self._bytes_per_s() / FRAME_BYTES
        count = max(8, math.ceil(per_s * DEMAND_S + self._burst_bytes() / FRAME_BYTES))
        echoes = world.netns.echo(self.target, count, SIZE_BYTES, per_s, PATIENCE_S)
        rate, waited_ms = self._rate_and_wait_ms(echoes)
        share = 1 - echoes.lost_share
        holds = before is not None and before.absent and 0 < rate <= TOLERANCE and waited_ms >= WAITED_MS
        answers = f"{len(echoes.arrivals_ms)} of {echoes.sent} answers"
        message = f"{answers}, at {rate:.2f} of the limit; asked was {FACTOR:g}; half waited {waited_ms:.0f} ms or more"
        return Observation(rate, "times the limit", holds, share >= WHOLE and rate >= FREE, message)

    def _rate_and_wait_ms(self, echoes: Echoes) -> tuple[float, float]:
        """The rate of arrivals as a multiple of the limit, and the median wait beyond the fastest answer.

        Both leave out the first answers, which the bucket lets through at once.
        """
        free = math.ceil(self._burst_bytes() / FRAME_BYTES) + 1
        counted, trips_ms = echoes.arrivals_ms[free:], echoes.trips_ms[free:]
        if len(counted) < 2:
            return 0.0, 0.0
        span_s = (counted[-1] - counted[0]) / 1000
        rate = (len(counted) - 1) * FRAME_BYTES / max(span_s, 1e-6) / self._bytes_per_s()
        return rate, statistics.median(trips_ms) - min(echoes.trips_ms) if trips_ms else 0.0

    def _bytes_per_s(self) -> float:
        return self.rate_kbit_per_s * 1000 / 8

    def _burst_bytes(self) -> int:
        return max(BURST_BYTES_MIN, round(self._bytes_per_s() * BURST_S))

    @staticmethod
    def heal(world: World, undo: RemoveQdisc) -> None:
        """Remove the queueing discipline; packets that wait in it are lost, as on a line that is unplugged."""
        world.netns.remove_qdisc(undo.service, undo.container_id, undo.device, undo.kind)


FAULT = RateLimit
