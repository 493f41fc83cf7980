"""`guardian.jsonl`: the guardian's journal, in the format of `journal.jsonl`; a full disk never prevents a heal."""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from lab.model.encodable import encodable
from lab.model.journal import Event
from lab.observe.clock import RunClock
from lab.ports import Clock

WRITER = "guardian"


class SharedClock(RunClock):
    """The clock of a run, in another process: CLOCK_MONOTONIC is the same for all processes of a machine."""

    def __init__(self, origin_ns: int) -> None:
        super().__init__()
        self._origin_ns = origin_ns


def origin_ns(clock: Clock) -> int:
    """The start of a run's clock, in nanoseconds of CLOCK_MONOTONIC."""
    return time.monotonic_ns() - round(clock.now_ms() * 1e6)


class GuardianJournal:
    """Appends events and flushes each; an event that cannot be written is left out, and stderr says why."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._seq = 0
        self._file: TextIO | None = None
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            _complain(error)

    def record(self, kind: str, **data: Any) -> None:
        """Write one event; never raises."""
        event = Event(self._seq, WRITER, self._clock.now_ms(), self._clock.wall(), kind, data)
        self._seq += 1
        if self._file is None:
            return
        try:
            self._file.write(encodable(json.dumps(event.to_json(), ensure_ascii=False)) + "\n")
            self._file.flush()
        except OSError as error:
            _complain(error)

    def close(self) -> None:
        """Close the file; later events are left out."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


def _complain(error: OSError) -> None:
    # The file behind stderr may be on the same full disk.
    with suppress(OSError):
        sys.stderr.write(f"guardian.jsonl cannot be written: {error}\n")
