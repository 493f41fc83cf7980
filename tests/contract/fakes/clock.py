"""A clock in memory."""

from collections.abc import Sequence


class FakeClock:
    """A clock that moves only when somebody sleeps on it."""

    def __init__(self) -> None:
        self.at_ms = 0.0

    def now_ms(self) -> float:
        return self.at_ms

    def epoch_ms(self) -> float:
        return 1_700_000_000_000.0 + self.at_ms

    def wall(self) -> str:
        return f"2026-01-01T00:00:{self.at_ms / 1000:06.3f}Z"

    def wall_steps(self, since_ms: float) -> Sequence[tuple[float, float]]:
        return ()

    def sleep_s(self, seconds: float) -> None:
        self.at_ms += max(0.0, seconds) * 1000
