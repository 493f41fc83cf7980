"""`journal.jsonl`: one event a line, flushed per event, forced to disk where the caller says so."""

import io
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lab.boundary import Caught, attempt
from lab.errors import WorldError
from lab.model.encodable import encodable
from lab.model.journal import Event, Journal, event_from_json
from lab.ports import Clock

# The lab's own events nest less than half as deep. Code that reads an event recursively must reach its end.
_DEPTH_MAX = 50


class JournalFile:
    """Appends events; thread-safe; implements `lab.ports.Recorder`. `listener` sees each event after it is written."""

    def __init__(self, path: Path, clock: Clock, listener: Callable[[Event], None] | None = None) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._clock = clock
        self._listener = listener
        self._lock = threading.Lock()
        self._seq = 0

    def record(self, kind: str, *, durable: bool = False, **data: Any) -> Event:
        """Write one event; with `durable` it is on disk before this returns. Raises WorldError when it cannot.

        An event that could not be written keeps its number, so the judge detects the gap.
        """
        with self._lock:
            seq, self._seq = self._seq, self._seq + 1
            event = Event(seq, "run", self._clock.now_ms(), self._clock.wall(), kind, data)
            line = json.dumps(event.to_json(), ensure_ascii=False, allow_nan=False)
            if (whole := encodable(line)) != line:
                # The listener gets the text that was written, because its terminal cannot show half a surrogate pair
                # either.
                line, event = whole, event_from_json(json.loads(whole))
            try:
                self._file.write(line + "\n")
                self._file.flush()
                if durable:
                    os.fsync(self._file.fileno())
            except OSError as error:
                raise WorldError(
                    "the journal cannot be written, so nothing more can be proven",
                    where=self._file.name,
                    last_state=str(error),
                    try_="free disk space, then run again",
                ) from error
        self._show(event)
        return event

    def _show(self, event: Event) -> None:
        """Tell the listener; one that cannot show an event (its terminal is gone, say) gets no more of them."""
        if self._listener is not None and isinstance(attempt(partial(self._listener, event)), Caught):
            self._listener = None

    @property
    def next_seq(self) -> int:
        """The sequence number that the next event will get."""
        return self._seq

    def close(self) -> None:
        """Force everything to disk and close."""
        with self._lock:
            if not self._file.closed:
                try:
                    os.fsync(self._file.fileno())
                finally:
                    self._file.close()


def read_segments(folder: Path, name: str) -> Journal | None:
    """The journal of a run from the file of each segment: `name.jsonl`, `name-1.jsonl` and so on; None where none is.

    The last line of a segment that another followed may be incomplete, because its process was killed. A file that is
    missing between two others is damage.
    """
    paths = {0: folder / f"{name}.jsonl"}
    for path in folder.glob(f"{name}-*.jsonl"):
        if (digits := path.stem.removeprefix(f"{name}-")).isdecimal():
            paths[int(digits)] = path
    found = {number: path for number, path in sorted(paths.items()) if path.exists()}
    events: list[Event] = []
    damage = [f"{paths[0].name} is missing"] if found and 0 not in found else []
    for number, path in found.items():
        journal = read_journal(path, may_be_torn=number != max(found))
        events += [replace(event, segment=number) for event in journal] if number else journal.events
        if journal.damage:
            damage.append(f"segment {number}: {journal.damage}" if number else journal.damage)
    return Journal(tuple(events), "; ".join(damage)) if found else None


def read_journal(path: Path, *, may_be_torn: bool = False) -> Journal:
    """The events of a journal file, up to the first line that cannot be read; `damage` names that line.

    Half a surrogate pair is read as U+FFFD, because no report could contain it. With `may_be_torn` a last line without
    its end is left out.
    """
    events: list[Event] = []
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return Journal((), f"journal unreadable: {error}")
    if may_be_torn:
        text = text[: text.rfind("\n") + 1]
    # Not splitlines(): JSON may hold U+2028 and others at which that splits too, and only "\n" ends an event.
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):
        try:
            events.append(event_from_json(_whole(json.loads(line))))
        except ValueError as error:
            return Journal(tuple(events), f"journal line {number}: {error}")
        except RecursionError:
            return Journal(tuple(events), f"journal line {number}: nested too deeply")
    damage = "" if text.endswith("\n") or may_be_torn else "the journal's last line is incomplete"
    return Journal(tuple(events), damage)


def _whole(value: Any, depth: int = 0) -> Any:
    """A JSON value with encodable text only; raises ValueError if it is nested too deeply."""
    if depth > _DEPTH_MAX:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        return [_whole(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {encodable(key): _whole(item, depth + 1) for key, item in value.items()}
    return value
