"""The load of a step as data: which k6 script sends it, on which schedule, and how it speaks to the target.

Nothing else in the lab knows a rate. The load generator, the planner and the judge ask the profile's schedule how
many requests were due. A new kind of load is one k6 script beside `k6/normal.js` and one `LoadProfile`; a new k6
executor is one more class with the methods of `Schedule`, and its entry in `k6/lab.js`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

# Requests, or milliseconds, by which two results of the same sum may differ in floating point.
_TOLERANCE = 1e-6
# How long a virtual user may be busy beyond its request: it parses the answer and ends its iteration.
BUSY_AFTER_REQUEST_MS = 1000
# What k6 waits at a chunk's end beyond the longest request.
GRACE_MS = 2000


class Schedule(Protocol):
    """When requests are due; all times are milliseconds since the schedule's beginning.

    `executor` is k6's own name for this kind of schedule. An open schedule (arrival rates) knows the moment of each
    request. A closed one (`constant-vus`) does not: its `due_ms` raises ValueError, its `due_at_least` counts what the
    virtual users must begin in the window even if every request takes its whole time.
    """

    @property
    def executor(self) -> str: ...

    def due_ms(self, n: int) -> float:
        """When request number `n`, counted from 0, is due."""

    def due_before(self, at_ms: float) -> int:
        """How many requests are due before `at_ms`."""

    def due_at_least(self, from_ms: float, to_ms: float) -> int:
        """The smallest number that can be due in a window if the begin is known only to within one period."""

    def due_at_most(self, from_ms: float, to_ms: float) -> int:
        """The largest number that can be due in a window if the begin is known only to within one period."""

    def expected(self, from_ms: float, to_ms: float) -> float:
        """The mean number of requests that are due in a window."""

    def pause_max_ms(self) -> float:
        """The longest time between two requests that follow each other."""

    def chunk_ms(self, about_ms: float) -> float:
        """The length near `about_ms` after which the schedule can be cut without moving a request."""

    def busy_at_once(self, request_ms: float) -> int:
        """How many virtual users can be busy at once when each request takes `request_ms`."""

    def in_words(self) -> str:
        """The schedule as a person reads it, such as `4 requests/s`."""


@dataclass(frozen=True, slots=True)
class ConstantArrivalRate:
    """An open schedule: one request every `1000 / rate_per_s` ms, however long the target takes to answer."""

    rate_per_s: float
    executor: Literal["constant-arrival-rate"] = "constant-arrival-rate"

    def due_ms(self, n: int) -> float:
        """When request number `n`, counted from 0, is due."""
        return n * self._period_ms

    def due_before(self, at_ms: float) -> int:
        """How many requests are due before `at_ms`; a time within a nanosecond of a request is its own time."""
        n = max(0, math.ceil(at_ms / self._period_ms - _TOLERANCE))
        while self.due_ms(n) < at_ms - _TOLERANCE:
            n += 1
        return n

    def due_at_least(self, from_ms: float, to_ms: float) -> int:
        """The smallest number of requests that can be due in a window, wherever the first one falls."""
        return max(0, int((to_ms - from_ms) / 1000 * self.rate_per_s + _TOLERANCE) - 1)

    def due_at_most(self, from_ms: float, to_ms: float) -> int:
        """The largest number of requests that can be due in a window, wherever the first one falls."""
        if to_ms <= from_ms:
            return 0
        return int((to_ms - from_ms) / 1000 * self.rate_per_s + _TOLERANCE) + 1

    def expected(self, from_ms: float, to_ms: float) -> float:
        """The mean number of requests that are due in a window."""
        return self.rate_per_s * max(0.0, to_ms - from_ms) / 1000

    def pause_max_ms(self) -> float:
        """The time between two requests."""
        return self._period_ms

    def chunk_ms(self, about_ms: float) -> float:
        """The whole number of periods nearest to `about_ms`, one period at least."""
        return max(1, round(about_ms * self.rate_per_s / 1000)) * self._period_ms

    def busy_at_once(self, request_ms: float) -> int:
        """The requests that arrive while one is under way, and two to spare."""
        return math.ceil(self.rate_per_s * request_ms / 1000) + 2

    def in_words(self) -> str:
        """The rate in words."""
        return f"{self.rate_per_s:g} requests/s"

    @property
    def _period_ms(self) -> float:
        return 1000.0 / self.rate_per_s


@dataclass(frozen=True, slots=True)
class ChunkOfLoad:
    """One bounded piece of a profile that one k6 process sends.

    `first` is the number of its first request since the profile's beginning, `due` is how many it holds, and `start_ms`
    is when it begins, also since the profile's beginning.
    """

    number: int
    first: int
    due: int
    start_ms: float
    duration_ms: float


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """Everything that a load generator must know about the load of a step.

    `script` is a file in `k6/`. `mix` gives each operation its share. `vus_max` limits the virtual users: a request
    that is due and finds none free is not sent. The virtual users share `sessions` MCP sessions. Each request opens
    its own TCP connection unless `connection_reuse` is true. k6 runs in chunks of about `chunk_s`.
    """

    name: str
    script: str
    schedule: ConstantArrivalRate
    mix: Mapping[str, int]
    vus_max: int
    sessions: int
    connection_reuse: bool
    request_timeout_ms: int
    chunk_s: float

    @property
    def executor(self) -> str:
        """k6's name for the kind of schedule."""
        return self.schedule.executor

    @property
    def chunk_ms(self) -> float:
        """The length of each chunk; chunks follow each other without a gap."""
        return self.schedule.chunk_ms(1000 * self.chunk_s)

    def chunk(self, number: int) -> ChunkOfLoad:
        """Chunk number `number` of the profile, counted from 0."""
        start_ms = number * self.chunk_ms
        first = self.schedule.due_before(start_ms)
        due = self.schedule.due_before((number + 1) * self.chunk_ms) - first
        return ChunkOfLoad(number, first, due, start_ms, self.chunk_ms)

    @property
    def vus(self) -> int:
        """Virtual users: as many as can be busy at once when every request takes its whole time."""
        return min(self.vus_max, self.schedule.busy_at_once(self.request_timeout_ms + BUSY_AFTER_REQUEST_MS))

    @property
    def graceful_stop_ms(self) -> int:
        """How long k6 waits at a chunk's end for requests that are under way: longer than any may take."""
        return self.request_timeout_ms + GRACE_MS

    def in_words(self) -> str:
        """The profile as a person reads it, such as `normal: 4 requests/s`."""
        return f"{self.name}: {self.schedule.in_words()}"
