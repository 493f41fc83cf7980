"""The monotonic clock of a run, the wall clock, and what the two say about steps of the wall clock and a suspension."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lab.model.journal import CLOCK_STEPPED, MACHINE_SUSPENDED

STEP_TOLERANCE_MS = 50.0
# Two clocks that were read with a longer pause between them cannot be compared to the millisecond.
_READ_WITHIN_NS = 2_000_000
_READ_ATTEMPTS = 5

Nanoseconds = Callable[[], int]


@dataclass(frozen=True, slots=True)
class ClockJump:
    """A step of the wall clock, or a time in which the machine was suspended.

    `kind` is the kind of the journal's event. It happened between `from_ms` and the end of the call that found it, both
    on the run's clock; `by_ms` is how far the clock went ahead of the monotonic clock, negative where it went back.
    """

    kind: str
    by_ms: float
    from_ms: float


def boottime_ns() -> int:
    """Nanoseconds since the machine was booted, the time in which it was suspended included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class RunClock:
    """Milliseconds since the clock was made, on CLOCK_MONOTONIC; implements `lab.ports.Clock`.

    CLOCK_MONOTONIC stands still while the machine is suspended, and CLOCK_BOOTTIME goes on: that tells a suspension.
    The sources of the three clocks are parameters for the tests.
    """

    def __init__(
        self,
        monotonic_ns: Nanoseconds = time.monotonic_ns,
        wall_ns: Nanoseconds = time.time_ns,
        boot_ns: Nanoseconds = boottime_ns,
    ) -> None:
        self._monotonic_ns, self._wall_ns = monotonic_ns, wall_ns
        self._origin_ns = monotonic_ns()
        self.origin_epoch_ms = wall_ns() / 1e6
        self._lock = threading.Lock()
        self._wall_steps: list[tuple[float, float]] = []
        self._found: list[ClockJump] = []
        self._others = {CLOCK_STEPPED: wall_ns, MACHINE_SUSPENDED: boot_ns}
        # When each was last compared with the monotonic clock, and how far ahead it was when it last stepped, in ns.
        self._compared: dict[str, tuple[float, int]] = {}
        self.jumps()

    def now_ms(self) -> float:
        """Milliseconds since the run began, to the microsecond."""
        return round((self._monotonic_ns() - self._origin_ns) / 1e6, 3)

    def epoch_ms(self) -> float:
        """Milliseconds of wall-clock time since 1970."""
        return self._wall_ns() / 1e6

    def wall(self) -> str:
        """The wall clock as ISO 8601 in UTC, to the millisecond."""
        return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def sleep_s(self, seconds: float) -> None:
        """Sleep; zero or less returns at once."""
        if seconds > 0:
            time.sleep(seconds)

    def wall_steps(self, since_ms: float) -> Sequence[tuple[float, float]]:
        """The steps of the wall clock from a time until now: just before the step, and by how many ms."""
        with self._lock:
            self._compare()
            return tuple(step for step in self._wall_steps if step[0] >= since_ms)

    def jumps(self) -> Sequence[ClockJump]:
        """What has happened to the clocks since the last call, by whichever thread; 50 ms and less do not count."""
        with self._lock:
            self._compare()
            found, self._found = self._found, []
        return found

    def _compare(self) -> None:
        for kind, clock in self._others.items():
            if (jump := self._jump(kind, clock)) is not None:
                self._found.append(jump)

    def _jump(self, kind: str, clock: Nanoseconds) -> ClockJump | None:
        now_ms, offset_ns = self.now_ms(), self._offset_ns(clock)
        if offset_ns is None:
            # A busy machine let no comparison through. The next call compares with the last one that was good.
            return None
        from_ms, before_ns = self._compared.get(kind, (now_ms, offset_ns))
        by_ms = round((offset_ns - before_ns) / 1e6, 3)
        # A clock that drifts is compared with what it was when it last counted as stepped, so nothing adds up unseen.
        stepped = abs(by_ms) > STEP_TOLERANCE_MS
        self._compared[kind] = (now_ms, offset_ns if stepped else before_ns)
        if not stepped:
            return None
        if kind == CLOCK_STEPPED:
            self._wall_steps.append((from_ms, by_ms))
        return ClockJump(kind, by_ms, from_ms)

    def _offset_ns(self, clock: Nanoseconds) -> int | None:
        """How far a clock is ahead of the monotonic one; None if the process was interrupted at each attempt."""
        for _ in range(_READ_ATTEMPTS):
            before_ns, read_ns, after_ns = self._monotonic_ns(), clock(), self._monotonic_ns()
            if after_ns - before_ns <= _READ_WITHIN_NS:
                return read_ns - (before_ns + after_ns) // 2
        return None
