"""The monotonic clock of a run, and the wall clock."""

import time
from datetime import UTC, datetime

STEP_TOLERANCE_MS = 50.0


class RunClock:
    """Milliseconds since the clock was made, on CLOCK_MONOTONIC; implements `lab.ports.Clock`."""

    def __init__(self) -> None:
        self._origin_ns = time.monotonic_ns()
        self.origin_epoch_ms = time.time_ns() / 1e6
        self._stepped_ms = 0.0

    def now_ms(self) -> float:
        """Milliseconds since the run began, to the microsecond."""
        return round((time.monotonic_ns() - self._origin_ns) / 1e6, 3)

    def epoch_ms(self) -> float:
        """Milliseconds of wall-clock time since 1970."""
        return time.time_ns() / 1e6

    def wall(self) -> str:
        """The wall clock as ISO 8601 in UTC, to the millisecond."""
        return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def sleep_s(self, seconds: float) -> None:
        """Sleep; zero or less returns at once."""
        if seconds > 0:
            time.sleep(seconds)

    def wall_step_ms(self) -> float | None:
        """By how much the wall clock has stepped since the last call, in ms; None if by 50 ms or less."""
        offset = self.epoch_ms() - self.origin_epoch_ms - self.now_ms()
        step = offset - self._stepped_ms
        if abs(step) <= STEP_TOLERANCE_MS:
            return None
        self._stepped_ms = offset
        return round(step, 3)
