"""One row of each table of `samples.sqlite`; times are milliseconds of the run's monotonic clock.

`done_ms` is None where no answer came: the observation is then censored, never a duration.
"""

from dataclasses import dataclass
from enum import Enum


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


@dataclass(frozen=True, slots=True)
class Request:
    """One load request; `source` is the k6 chunk it came from. Dropped iterations appear with layer UNSENT.

    `id` is unique within the run; None in runs from before requests had ids.
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


@dataclass(frozen=True, slots=True)
class Probe:
    """One canary probe; `outcome` is `ok`, `wrong` or the layer at which it failed, `detail` the message.

    `hits` of the exact top `k` were in an answer to a truth query; both None where nothing was to be counted.
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
    """One reading of the host or of the lab itself, such as `lab_cpu_s` or `mcp_cpu_s` (cumulative seconds)."""

    at_ms: float
    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class Samples:
    """All sample tables of a run, each in the order of its first time column."""

    requests: tuple[Request, ...] = ()
    probes: tuple[Probe, ...] = ()
    recall: tuple[Recall, ...] = ()
    memory: tuple[Memory, ...] = ()
    host: tuple[HostReading, ...] = ()

    def counts(self) -> dict[str, int]:
        """Rows by table, as the journal's last event records them."""
        return {name: len(getattr(self, name)) for name in TABLES}


# The name under which looks at the store stand among the probes; every other name is a canary's.
STORE_PROBE = "store_idle"
# The outcome of a probe that was late because the lab itself stood still.
STALLED = "stalled"
# The outcome of a probe whose answer claims success and holds too few of the right documents.
WRONG = "wrong"
TABLES = ("requests", "probes", "recall", "memory", "host")
# Which of these tables miss rows once a sampler has died. The watchdog and the engine's log write none; a sampler that
# is not listed may have written any.
STREAMS_OF_SAMPLER: dict[str, tuple[str, ...]] = {
    "load": ("requests",),
    "canary": ("probes",),
    "store_idle": ("probes",),
    "stalls": ("probes",),
    "recall": ("recall",),
    "memory": ("memory", "host"),
    "observer": ("probes", "recall", "memory", "host"),
    "engine_log": (),
    "watchdog": (),
    "wall_clock": (),
}
