"""The links between load, MCP server and store: Toxiproxy's proxies and what can be measured through them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

# How exchanges are carried out: so many at once, the longest wait for a connect, and the pause between the beginnings
# of two that are compared (three through the proxy and three past it then begin within 16 ms).
AT_ONCE_MAX = 8
CONNECT_TIMEOUT_S = 2.0
START_PAUSE_S = 0.004

# How one connection ended: every answer came and it was closed in order; nothing within the patience after a
# connect that succeeded; closed in order (FIN) before all answers came; reset (RST); the connect was refused.
End = Literal["answered", "silent", "closed", "reset", "refused"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is asked on one new connection: as many small requests as make the sizes wanted, pipelined.

    At least `answer_bytes` of answers and `request_bytes` of requests; 0 is one request of its natural size. With
    `half_close` it is the asker who closes first, once it has its answers; else the server does. `alone` exchanges come
    one after the other, so that none slows another.
    """

    answer_bytes: int = 0
    request_bytes: int = 0
    half_close: bool = False
    alone: bool = False
    patience_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one exchange; times in ms since the connection stood, infinite where it never came to that.

    `closing_ms` is from the last byte (or the half close) to the end of the connection; `pieces` are the sizes of the
    bytes as they arrived.
    """

    end: End
    sent: int = 0
    received: int = 0
    first_ms: float = math.inf
    last_ms: float = math.inf
    closing_ms: float = math.inf
    ended_ms: float = math.inf
    pieces: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """The same exchange again and again, by turns through a proxy and past it, straight to the service behind.

    What only those through it show is the link's; what both show is the service's, or the machine's.
    """

    through: Sequence[Seen]
    past: Sequence[Seen]


class Proxies(Protocol):
    """The Toxiproxy of one stack; proxies are named after the service behind them (`mcp`, `qdrant`).

    Whatever acts is time-boxed; where the control port hangs, what heals recreates the proxy, then its container.
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
    def exchange(self, proxy: str, what: Exchange, tries: int) -> Sequence[Seen]: ...
    def compare(self, proxy: str, what: Exchange, tries: int) -> Compared: ...
    def keep_open(self, proxy: str) -> None: ...
    def kept_end(self, proxy: str) -> End | None: ...
    def reset_open(self, proxy: str) -> int: ...
