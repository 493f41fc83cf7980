"""What a guardian waits on: its run's pipe, its run's death, and the end of a lease; nothing is polled."""

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
    """Seconds of CLOCK_BOOTTIME, which goes on while the machine sleeps and which no clock adjustment moves."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Received:
    """What there is to know: messages in order, and whether the run is dead (messages sent before come first)."""

    messages: tuple[dict[str, Any], ...]
    dead: bool


class GuardianChannel:
    """The guardian's side of the pipe; messages are JSON objects, one a line."""

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
        """Wait for a message, for the run's death or until this time, and tell what is there then."""
        if self._run is None:
            return Received(self._messages(), dead=True)
        timeout_ms = None if until_boot_s is None else max(0.0, until_boot_s - boot_s()) * 1000 + 1
        self._poll.poll(timeout_ms)
        dead = self._run.has_ended()
        return Received(self._messages(), dead)

    def say(self, message: dict[str, Any]) -> None:
        """Send one message; a run that is dead needs none."""
        with suppress(OSError):
            os.write(_STDOUT, json.dumps(message).encode() + b"\n")

    def asked_to_finish(self, within_s: float) -> bool:
        """Wait so long; True at once when somebody asked by SIGTERM for a quick end."""
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
            # The end of the pipe: what is left to wait for is the run's death.
            with suppress(KeyError):
                self._poll.unregister(_STDIN)
        *lines, self._rest = self._rest.split(b"\n")
        return tuple(message for line in lines if (message := _understood(line)) is not None)


def _understood(line: bytes) -> dict[str, Any] | None:
    """One message; None for what is none, which must not keep the guardian from its watch."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
