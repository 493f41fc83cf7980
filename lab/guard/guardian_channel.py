"""The guardian's side of the pipe to its run; it waits for messages, the run's death, or a time, without polling."""

import json
import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from lab.host.processes.process_handle import ProcessHandle

_STDIN, _STDOUT = 0, 1


def boot_s() -> float:
    """Seconds of CLOCK_BOOTTIME: this clock goes on while the machine sleeps, and no clock adjustment changes it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Received:
    """The messages that arrived, in order, and whether the run is dead; a dead run's last messages are included."""

    messages: tuple[dict[str, Any], ...]
    dead: bool


class GuardianChannel:
    """Receives and sends messages, which are JSON objects, one per line."""

    def __init__(self, run: ProcessHandle | None) -> None:
        self._run = run
        self._rest = b""
        self._poll = select.poll()
        self._poll.register(_STDIN, select.POLLIN)
        if run is not None:
            self._poll.register(run.handle, select.POLLIN)
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(_STDIN, False)
        signal.signal(signal.SIGTERM, self._on_term)

    def receive(self, until_boot_s: float | None) -> Received:
        """Wait for a message, for the run's death, or until the given time; return what has arrived by then."""
        if self._run is None:
            return Received(self._messages(), dead=True)
        timeout_ms = None if until_boot_s is None else max(0.0, until_boot_s - boot_s()) * 1000 + 1
        self._poll.poll(timeout_ms)
        dead = self._run.has_ended()
        return Received(self._messages(), dead)

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; if the run is dead, nothing happens."""
        with suppress(OSError):
            os.write(_STDOUT, json.dumps(message).encode() + b"\n")

    def asked_to_finish(self, within_s: float) -> bool:
        """Wait for `within_s` seconds; return True at once if SIGTERM asks the guardian to finish."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        return bool(poll.poll(max(0.0, within_s) * 1000))

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        with suppress(BlockingIOError):
            os.write(self._waker, b"!")

    def _messages(self) -> tuple[dict[str, Any], ...]:
        with suppress(BlockingIOError):
            while chunk := os.read(_STDIN, 65536):
                self._rest += chunk
            # The pipe has ended, so only the run's death is left to wait for.
            with suppress(KeyError):
                self._poll.unregister(_STDIN)
        *lines, self._rest = self._rest.split(b"\n")
        return tuple(message for line in lines if (message := _parsed(line)) is not None)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """One message; None for a line that is no message, because it must not stop the guardian."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
