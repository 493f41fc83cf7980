"""One row of each table of `samples.sqlite`; times are milliseconds of the run's monotonic clock.

`done_ms` is None where no answer came: the observation is then censored, never a duration.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from operator import attrgetter, itemgetter
from typing import Any, Protocol, TypeVar, runtime_checkable

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Layer(Enum):
    """Where a request failed, outermost first; OK where it did not.

    `LOST` marks a request that was started and whose outcome was never recorded (its generator was cut off);
    `UNSENT` one that was due and could not be sent.
    """

    OK = "ok"
    UNSENT = "unsent"
    LOST = "lost"
    TRANSPORT = "transport"
    HTTP_STATUS = "http_status"
    JSONRPC = "jsonrpc"
    IS_ERROR = "is_error"
    PAYLOAD = "payload"


# How the message of a request begins that had no answer within its time limit: k6's own error code.
REQUEST_TIMEOUT = "1050"


@dataclass(frozen=True, slots=True)
class Request:
    """One load request; `source` is the k6 chunk it came from. Dropped iterations appear with layer UNSENT.

    `id` is unique within the run; None in runs from before requests had ids. `hits` of the exact top `k` were in an
    answer to the truth query `query_id` that claims success; all three are None where nothing was to be counted.
    """

    scheduled_ms: float
    sent_ms: float | None
    done_ms: float | None
    op: str
    ok: bool
    layer: Layer
    message: str
    source: str
    sessions_lost: int = 0
    id: str | None = None
    hits: int | None = None
    k: int | None = None
    query_id: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """One canary probe; `outcome` is `ok`, `wrong` or the layer at which it failed, `detail` the message.

    `hits` of the exact top `k` were in an answer to a truth query; both None if nothing is counted.
    """

    sent_ms: float
    done_ms: float | None
    probe: str
    outcome: str
    detail: str
    hits: int | None = None
    k: int | None = None


@dataclass(frozen=True, slots=True)
class Recall:
    """One truth query: `answered` when the server claimed success, `hits` of the exact top `k` found in the answer.

    `message` is the failed condition or error where there was one (an empty answer that claims success is answered,
    with zero hits, and carries the message of the condition that it breaks).
    """

    sent_ms: float
    done_ms: float | None
    mode: str
    query_id: str
    answered: bool
    hits: int
    k: int
    layer: Layer
    message: str


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory reading. Metrics: anon_bytes, rss_bytes, pss_bytes.

    `process`, `pid` and `started` (the time at which the process started, in seconds since 1970) are None for a whole
    container. Runs from before the two last columns have only the name; with them, a worker that was restarted under
    the same name is a series of its own.
    """

    at_ms: float
    container: str
    process: str | None
    metric: str
    bytes: int
    pid: int | None = None
    started: float | None = None


@dataclass(frozen=True, slots=True)
class HostReading:
    """One reading of the host or of the lab itself, such as `lab_cpu_s` or `mcp_cpu_s` (cumulative seconds).

    `host_cpu_waiting_s` is the time in which at least one task on the machine waited for a CPU (PSI, `some`).
    """

    at_ms: float
    metric: str
    value: float


# The routes of the target's connections, as `Traffic.route` names them.
ENTRANCE, STORE, PAST, OTHER = "entrance", "store", "past", "other"


@dataclass(frozen=True, slots=True)
class Traffic:
    """One reading of the target's own TCP connections on one route, made in its network namespace.

    `route` is `entrance` (they come from a proxy), `store` (they lead to a proxy of the store), `past` (they lead
    to the store and to none of its proxies) or `other`; the loopback is left out, and so are callers of the target
    that come past its proxies. `peer` is the proxy's name, or the address where there is no proxy. `established`
    are open now, and `unanswered` segments of open connections were sent and not acknowledged. The rest counts from
    the first reading on: connections that carried something or tried to, those of them that ended, bytes that the
    other end acknowledged, bytes that arrived, and segments that were sent again.
    """

    at_ms: float
    route: str
    peer: str
    established: int
    opened: int
    ended: int
    sent_bytes: int
    received_bytes: int
    unanswered: int = 0
    retransmitted: int = 0


@runtime_checkable
class Stream(Protocol[T_co]):
    """The rows of one table, which may be far too many to hold at once.

    A row's time is its first field. `between` and the iteration give rows in order of time, and rows of
    one time in an order that depends on their content alone, so the order of storage has no effect.
    """

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...

    def between(self, from_ms: float, to_ms: float) -> Sequence[T_co]:
        """The rows from one time up to, and not including, another."""

    def fields(
        self, names: Sequence[str], from_ms: float, to_ms: float, **values: str
    ) -> Sequence[tuple[Any, ...]]:
        """These fields of the rows of `between` that have these values, where whole rows would cost too much."""

    def count_between(self, from_ms: float, to_ms: float) -> int:
        """How many rows `between` would return."""

    def times(self, **values: str) -> "array[float]":
        """The times, in order, of the rows whose fields have these values."""


def time_of(row: Any) -> float:
    """The time by which a row belongs to a window, in ms: its first field."""
    return float(getattr(row, type(row).__slots__[0]))


def in_time_order(rows: Iterable[T]) -> list[T]:
    """Rows in order of time, and rows of one time in the order of their text, so the order of storage has no effect."""
    timed = sorted(((time_of(row), row) for row in rows), key=itemgetter(0))
    ordered = [row for _, row in timed]
    if not ordered:
        return ordered
    # The text of a tuple of the values is much quicker to make than the text of the row.
    values_of = attrgetter(*type(ordered[0]).__slots__)  # type: ignore[attr-defined]
    first = 0
    for end in range(1, len(timed) + 1):
        if end == len(timed) or timed[end][0] != timed[first][0]:
            if end - first > 1:
                ordered[first:end] = sorted(ordered[first:end], key=lambda row: repr(values_of(row)))
            first = end
    return ordered


class Rows(tuple[T, ...]):
    """A `Stream` of rows that are held in memory, in whatever order they came."""

    def __iter__(self) -> Iterator[T]:
        return iter(self._ordered)

    def between(self, from_ms: float, to_ms: float) -> Sequence[T]:
        """The rows from one time up to, and not including, another."""
        times = self._times
        return self._ordered[bisect_left(times, from_ms) : bisect_left(times, to_ms)]

    def fields(
        self, names: Sequence[str], from_ms: float, to_ms: float, **values: str
    ) -> Sequence[tuple[Any, ...]]:
        """These fields of the rows of `between` that have these values."""
        rows = self.between(from_ms, to_ms)
        chosen = (r for r in rows if all(getattr(r, name) == value for name, value in values.items()))
        return [tuple(getattr(row, name) for name in names) for row in chosen]

    def count_between(self, from_ms: float, to_ms: float) -> int:
        """How many rows `between` would return."""
        return max(0, bisect_left(self._times, to_ms) - bisect_left(self._times, from_ms))

    def times(self, **values: str) -> "array[float]":
        """The times, in order, of the rows whose fields have these values."""
        chosen = (
            r for r in self._ordered if all(getattr(r, name) == value for name, value in values.items())
        )
        return array("d", map(time_of, chosen))

    @cached_property
    def _ordered(self) -> list[T]:
        return in_time_order(tuple.__iter__(self))

    @cached_property
    def _times(self) -> list[float]:
        return [time_of(row) for row in self._ordered]


_NO_ROWS: Rows[Any] = Rows()


@dataclass(frozen=True, slots=True)
class Samples:
    """All sample tables of a run; a plain sequence of rows becomes a stream that is held in memory."""

    requests: Stream[Request] = _NO_ROWS
    probes: Stream[Probe] = _NO_ROWS
    recall: Stream[Recall] = _NO_ROWS
    memory: Stream[Memory] = _NO_ROWS
    host: Stream[HostReading] = _NO_ROWS
    traffic: Stream[Traffic] = _NO_ROWS

    def __post_init__(self) -> None:
        for name in self.__slots__:
            rows = getattr(self, name)
            if not isinstance(rows, Stream):
                object.__setattr__(self, name, Rows(rows))

    def counts(self) -> dict[str, int]:
        """Rows by table, as the journal's last event records them."""
        return {name: len(getattr(self, name)) for name in TABLES}

    def count_between(self, table: str, from_ms: float, to_ms: float) -> int:
        """The rows of one table from one time up to another; 0 for an unknown table."""
        stream: Stream[Any] | None = getattr(self, table) if table in TABLES else None
        return 0 if stream is None else stream.count_between(from_ms, to_ms)


# The name that the probes of the store have in the table of probes; every other name is a canary's.
STORE_PROBE = "store_idle"
# The outcome of a probe that was late because the lab itself stood still.
STALLED = "stalled"
# The outcome of a probe whose answer claims success and holds too few of the right documents.
WRONG = "wrong"
HOST_CPU_IDLE, HOST_CPU_WAITING, LOAD_CPU = "host_cpu_idle_s", "host_cpu_waiting_s", "load_cpu_s"
TABLES = ("requests", "probes", "recall", "memory", "host", "traffic")
# The tables that may miss rows after a sampler has died. A single lost slot is recorded under the name `probe`. The
# watchdog and the engine's log write none; a sampler that is not listed may have written any.
STREAMS_OF_SAMPLER: dict[str, tuple[str, ...]] = {
    "load": ("requests",),
    "canary": ("probes",),
    "store_idle": ("probes",),
    # From then on nobody sees a stall of the lab.
    "stalls": TABLES,
    "probe": ("probes", "recall"),
    "recall": ("recall",),
    "memory": ("memory", "host"),
    "observer": ("probes", "recall", "memory", "host"),
    "traffic": ("traffic",),
    "engine_log": (),
    "watchdog": (),
    "wall_clock": ("requests",),
}
