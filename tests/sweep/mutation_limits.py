"""The time limit of a mutant: its process is told by its start as well as by its number, before it is ended.

The tool itself (mutmut 3.8.1) keeps the number of each process until its time is up, and then sends it SIGXCPU, whether
or not the process has ended long before. Where numbers are given out again within minutes, that ends programs of
others: a store in a container died of it.
"""

import signal
import threading
import time
from contextlib import suppress
from typing import Any

import psutil

PERIOD_S = 0.5


class TimeLimits:
    """Sends SIGXCPU to each process that is added when its time is up, if it is still the same process."""

    def __init__(self) -> None:
        self._due: list[tuple[float, psutil.Process]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, pid: int, timeout_s: float) -> None:
        """End this process in so many seconds; one that has ended already is left out."""
        with suppress(psutil.NoSuchProcess), self._lock:
            self._due.append((time.monotonic() + timeout_s, psutil.Process(pid)))
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        while True:
            time.sleep(PERIOD_S)
            self.end_those_due(time.monotonic())

    def end_those_due(self, now_s: float) -> None:
        """Signal each process whose time is up; psutil refuses where its number belongs to another one by now."""
        with self._lock:
            due = [process for at_s, process in self._due if at_s <= now_s]
            self._due = [(at_s, process) for at_s, process in self._due if at_s > now_s]
        for process in due:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGXCPU)


def safe_time_limits(tool: dict[str, Any]) -> None:
    """Let the tool, given by the names in its module `isolation`, use these limits in place of its own."""
    if "register_timeout" not in tool:
        raise SystemExit("mutmut no longer has `register_timeout`: see who ends its mutants now")
    tool["register_timeout"] = TimeLimits().add
