"""Cut connections after a number of bytes, as a broken middlebox would."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import BYTES, ENDS
from lab.faults.link.proof import CONNECTIONS_MIN, compared_max_s, exchanged_max_s, transfer
from lab.faults.link.toxic import Direction, Link, Signs, Toxic, Toxicity
from lab.ports import Observation, World
from lab.ports.proxies import Comparison, Exchange, ExchangeResult

SHORT = Exchange(timeout_s=10.0)


@dataclass(frozen=True, slots=True)
class LimitData(Toxic):
    """Closes each connection once `limit_bytes` have been passed on in one direction.

    Source: Toxiproxy's `limit_data` toxic. An open connection's bytes count from the injection on.
    """

    kind: ClassVar[str] = "limit_data"
    resources: ClassVar[tuple[str, ...]] = (BYTES, ENDS)

    target: Link
    limit_bytes: Annotated[int, Ge(256), Le(100_000)] = 1000
    direction: Direction = "downstream"
    toxicity: Toxicity = 1.0

    @property
    def attributes(self) -> dict[str, int]:
        """In bytes."""
        return {"bytes": self.limit_bytes}

    @property
    def exchange(self) -> Exchange:
        """A transfer of twice the limit."""
        return transfer(self.direction, 2 * self.limit_bytes, alone=False, timeout_s=SHORT.timeout_s)

    @property
    def look_max_s(self) -> float:
        """The longest time in seconds of the comparison, and of the short exchanges after it."""
        return compared_max_s(self.exchange, self.toxicity) + exchanged_max_s(SHORT, CONNECTIONS_MIN)

    def signs(self, world: World, compared: Comparison, before: Observation | None) -> Signs:
        """Hit: a connection that carries twice the limit is cut, while those that carry less are answered.

        Downstream it is cut after exactly the limit; how much of a request went through cannot be seen by its sender.
        """
        below = world.proxies.exchange(self.target, SHORT, CONNECTIONS_MIN)
        passes = all(result.end == "answered" for result in below)

        def hit(result: ExchangeResult) -> bool:
            exact = self.direction == "upstream" or result.received == self.limit_bytes
            return passes and result.end in ("closed", "reset") and exact

        def clean(result: ExchangeResult) -> bool:
            return result.end == "answered" and passes

        received = min(result.received for result in compared.through)
        message = f"at least {received} bytes were received; short exchanges {'pass' if passes else 'fail'}"
        return Signs(received, "bytes", message, hit, clean)


FAULT = LimitData
