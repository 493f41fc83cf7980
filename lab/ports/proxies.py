"""The links between load, MCP server and store: Toxiproxy's proxies, and measurements through them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

# Limits of one measurement: exchanges at once, connect timeout, and the pause between the starts of two exchanges that
# are compared. With this pause, three exchanges through the proxy and three past it start within 16 ms.
AT_ONCE_MAX = 8
CONNECT_TIMEOUT_S = 2.0
START_PAUSE_S = 0.004

# How one connection ended:
# answered  all answers arrived, then the connection was closed in order
# silent    the connect succeeded, and nothing more arrived before the timeout
# closed    the connection was closed in order (FIN) before all answers arrived
# reset     the connection was reset (RST)
# refused   the connect was refused
ConnectionEnd = Literal["answered", "silent", "closed", "reset", "refused"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """The requests that are sent on one new connection, pipelined: as many as are needed for the sizes.

    The answers have at least `answer_bytes`, the requests at least `request_bytes`; with 0 there is one request of its
    natural size. With `half_close` the client closes its side first, after the last answer; otherwise the server closes
    first. Exchanges that are `alone` run one after the other, so that none slows another.
    """

    answer_bytes: int = 0
    request_bytes: int = 0
    half_close: bool = False
    alone: bool = False
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class ExchangeResult:
    """The result of one exchange. Times are ms since the connect succeeded, and infinite for what never happened.

    `closing_ms` lasts from the last byte (or from the half close) to the end of the connection. `pieces` are the sizes
    of the chunks of bytes as they arrived.
    """

    end: ConnectionEnd
    sent: int = 0
    received: int = 0
    first_ms: float = math.inf
    last_ms: float = math.inf
    closing_ms: float = math.inf
    ended_ms: float = math.inf
    pieces: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same exchange several times, alternately `through` a proxy and `direct` to the service behind it.

    An effect that only the exchanges through the proxy show comes from the link. An effect that both show comes from
    the service or from the machine.
    """

    through: Sequence[ExchangeResult]
    direct: Sequence[ExchangeResult]


class Proxies(Protocol):
    """The Toxiproxy of one stack. A proxy has the name of the service behind it (`mcp`, `qdrant`).

    Every call has a timeout. If the control port does not answer, the methods that heal recreate the proxy; if that
    fails too, they restart its container.

    A held connection is one that a measurement opens and keeps, in order to learn how it ends.
    """

    def require_enabled(self, proxy: str) -> None: ...
    def is_enabled(self, proxy: str) -> bool: ...
    def disable(self, proxy: str) -> None: ...
    def enable(self, proxy: str) -> None: ...
    def toxics(self, proxy: str) -> list[str]: ...
    def add_toxic(
        self,
        proxy: str,
        *,
        name: str,
        kind: str,
        stream: str,
        attributes: dict[str, Any],
        toxicity: float = 1.0,
    ) -> None: ...
    def remove_toxic(self, proxy: str, *, name: str) -> None: ...
    def exchange(self, proxy: str, what: Exchange, tries: int) -> Sequence[ExchangeResult]: ...
    def compare(self, proxy: str, what: Exchange, tries: int) -> Comparison: ...
    def open_held_connection(self, proxy: str) -> None: ...
    def held_connection_end(self, proxy: str) -> ConnectionEnd | None: ...
    def reset_connections(self, proxy: str) -> int: ...
