"""Times the parts of a preparation, from the beginning of the command on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab.observe.clock import RunClock
from lab.ports import Clock


@dataclass(slots=True)
class Stopwatch:
    """How long each part took, in seconds, in order; `head_start_s` is how old the command was at the beginning.

    `first_request_s` is when the lab sent its first request on the prepared store, in seconds since the command began.
    """

    head_start_s: float = 0.0
    clock: Clock = field(default_factory=RunClock)
    parts: list[tuple[str, float]] = field(default_factory=list)
    first_request_s: float | None = None

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what is done inside, also where it fails."""
        began_ms = self.clock.now_ms()
        try:
            yield
        finally:
            self.parts.append((name, round((self.clock.now_ms() - began_ms) / 1000, 3)))

    def first_request(self) -> None:
        """Note that the first request is sent now."""
        self.first_request_s = self.total_s

    @property
    def total_s(self) -> float:
        """Seconds since the command began."""
        return round(self.head_start_s + self.clock.now_ms() / 1000, 3)
