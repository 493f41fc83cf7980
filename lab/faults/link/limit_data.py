"""Cut connections after a number of bytes, as a broken middlebox would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import BYTES, ENDS
from lab.faults.link.looks import compared_max_s, exchanged_max_s
from lab.faults.link.proof import (
    TRIES,
    Direction,
    Link,
    Signs,
    Toxicity,
    add,
    judged,
    remove,
    toxic_undo,
    transfer,
    tries,
)
from lab.model.undo import RemoveToxic
from lab.ports import Fault, Observation, World
from lab.ports.proxies import Exchange, Seen

PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class LimitData(Fault):
    """Closes each connection once `limit_bytes` have been passed on in one direction.

    `toxicity` is the share of connections that are hit. Source: Toxiproxy's `limit_data` toxic. An open connection's
    bytes count from the injection on.
    """

    kind: ClassVar[str] = "limit_data"
    family: ClassVar[str] = "link"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp")
    resources: ClassVar[tuple[str, ...]] = (BYTES, ENDS)

    target: Link
    limit_bytes: Annotated[int, Ge(256), Le(100_000)] = 1000
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    @property
    def look_max_s(self) -> float:
        """Seconds that one look may take."""
        return compared_max_s(PATIENCE_S, self.toxicity) + exchanged_max_s(PATIENCE_S, TRIES)

    def prepare(self, world: World) -> RemoveToxic:
        """The proxy must exist and be enabled, else a toxic would change nothing."""
        return toxic_undo(world, self.target, self.kind, self.direction)

    def inject(self, world: World, undo: RemoveToxic) -> None:
        """Add the toxic under the name that the undo removes."""
        limit = self.limit_bytes
        add(world, undo, kind="limit_data", direction=self.direction, toxicity=self.toxicity, bytes=limit)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when a connection that carries twice the limit is cut, and one that carries less is answered.

        Downstream it is cut after exactly the limit; how much of a request went through cannot be seen by its sender.
        """
        down, twice = self.direction == "downstream", 2 * self.limit_bytes
        what = transfer(self.direction, twice, alone=False, patience_s=PATIENCE_S)
        seen = world.proxies.compare(self.target, what, tries(self.toxicity))
        below = world.proxies.exchange(self.target, Exchange(patience_s=PATIENCE_S), TRIES)
        passes = all(one.end == "answered" for one in below)

        def hit(one: Seen) -> bool:
            exact = one.received == self.limit_bytes if down else True
            return before is not None and passes and one.end in ("closed", "reset") and exact

        def clean(one: Seen) -> bool:
            return one.end == "answered" and passes

        received = min(one.received for one in seen.through)
        said = f"at least {received} bytes were received; short exchanges {'pass' if passes else 'fail'}"
        return judged(seen, Signs(hit, clean), self.toxicity, received, "bytes", said)

    @staticmethod
    def heal(world: World, undo: RemoveToxic) -> None:
        """Remove the toxic and read the proxy back; one that is gone already is fine."""
        remove(world, undo)


FAULT = LimitData
