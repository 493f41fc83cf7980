"""The target's own connections in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from lab.model.samples import ENTRANCE, STORE, Traffic
from tests.contract.fakes.clock import FakeClock

SENT_PER_MS, RECEIVED_PER_MS = 2, 5


@dataclass
class FakeTargetTraffic:
    """A target with one connection each way, on which bytes cross all the time."""

    clock: FakeClock

    def read(self) -> Sequence[Traffic]:
        at_ms = self.clock.now_ms()
        sent, received = int(at_ms * SENT_PER_MS), int(at_ms * RECEIVED_PER_MS)
        ways = ((ENTRANCE, "mcp"), (STORE, "qdrant"))
        return [Traffic(at_ms, *way, 1, 1, 0, sent, received) for way in ways]
