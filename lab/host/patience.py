"""Tries again what the engine refuses for a moment, for a bounded time; every other refusal counts at once."""

import re
import time
from collections.abc import Callable

from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_fixed

from lab.host.system_errors import ENGINE_ERRORS

# Together with the engine's own tries well below the time that a lease allows for delays (lab/model/lease.py, SPARE_S).
TRIES_MAX, EVERY_S, WITHIN_S = 20, 0.25, 5.0
# What runc and the kernel say when they could not do it just now: on cgroup v1 a process that forks or waits for a disk
# keeps the freezer from freezing all of them ("unable to freeze"), and a busy cgroup answers EBUSY or EAGAIN.
_MOMENTARY = re.compile(r"unable to freeze|resource busy|resource temporarily unavailable", re.IGNORECASE)


def patiently(action: Callable[[], None], *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Do it; while the engine refuses for a moment, do it again. Raises the last refusal when the time is over."""
    again = Retrying(
        retry=retry_if_exception(is_momentary),
        stop=stop_after_attempt(TRIES_MAX) | stop_after_delay(WITHIN_S),
        wait=wait_fixed(EVERY_S),
        sleep=sleep,
        reraise=True,
    )
    again(action)


def is_momentary(error: BaseException) -> bool:
    """Whether the engine may do in a moment what it refuses now."""
    text = f"{error} {getattr(error, 'explanation', None) or ''}"
    return isinstance(error, ENGINE_ERRORS) and _MOMENTARY.search(text) is not None
