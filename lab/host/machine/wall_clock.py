"""Whether this machine's wall clock steps: a short measurement, and the systems of which it is known."""

import platform
import time
from collections.abc import Callable, Iterator

# As the run's clock has it: less is no step.
STEP_MS = 50.0
_EVERY_S = 0.02
# Two clocks that were read with a longer pause between them cannot be compared to the millisecond.
_READ_WITHIN_NS = 2_000_000


def is_wsl2(release: str | None = None) -> bool:
    """True on Windows' Linux (WSL2), by the kernel's release; its wall clock is set by the host again and again."""
    release = platform.release() if release is None else release
    return "microsoft" in release.lower()


def step_ms(
    seconds: float,
    wall_ns: Callable[[], int] = time.time_ns,
    monotonic_ns: Callable[[], int] = time.monotonic_ns,
    sleep_s: Callable[[float], None] = time.sleep,
) -> float:
    """By how many ms the wall clock moved against the monotonic one, within so many seconds; 0 if it did not step."""
    offsets = list(_offsets_ns(seconds, wall_ns, monotonic_ns, sleep_s))
    moved_ms = max((abs(offset - offsets[0]) for offset in offsets), default=0) / 1e6
    return moved_ms if moved_ms > STEP_MS else 0.0


def _offsets_ns(
    seconds: float,
    wall_ns: Callable[[], int],
    monotonic_ns: Callable[[], int],
    sleep_s: Callable[[float], None],
) -> Iterator[int]:
    end_ns = monotonic_ns() + round(seconds * 1e9)
    while (before_ns := monotonic_ns()) < end_ns:
        read_ns, after_ns = wall_ns(), monotonic_ns()
        if after_ns - before_ns <= _READ_WITHIN_NS:
            yield read_ns - (before_ns + after_ns) // 2
        sleep_s(_EVERY_S)
