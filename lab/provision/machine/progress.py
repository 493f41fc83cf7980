"""Reports the progress of long steps: at the start, every few seconds, and at the end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

HEARTBEAT_S = 8.0


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One line to show: a step started, goes on, ended or failed; or a note that belongs to no step."""

    kind: Literal["start", "beat", "done", "failed", "note"]
    step: str
    elapsed_s: float = 0.0
    detail: str = ""


Sink = Callable[[ProgressEvent], None]


class Step:
    """A step in progress; `detail` is shown with the next heartbeat and with the line at the end."""

    def __init__(self, name: str, cancelled: threading.Event) -> None:
        self.name = name
        self.detail = ""
        self.quiet = False
        self._cancelled = cancelled

    def at(self, detail: str, *, quiet: bool = False) -> None:
        """Set the detail of the step; with `quiet` it has no heartbeats, because it waits for another step.

        Raises InterruptedError if the work was cancelled meanwhile.
        """
        if self._cancelled.is_set():
            raise InterruptedError(f"{self.name}: stopped, another step failed or the user interrupted")
        self.detail, self.quiet = detail, quiet


class Progress:
    """Passes events to a sink, one at a time; several threads may report."""

    def __init__(self, sink: Sink, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._sink = sink
        self._heartbeat_s = heartbeat_s
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ask all steps in progress to stop; each stops when it sets its detail the next time."""
        self._cancelled.set()

    def note(self, text: str) -> None:
        """Report something that belongs to no step, such as a package that is installed."""
        self._emit(ProgressEvent("note", text))

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Report a step: its start, heartbeats with the elapsed seconds, and its end; it failed if it raises."""
        step, started = Step(name, self._cancelled), time.monotonic()
        over = threading.Event()
        self._emit(ProgressEvent("start", name))
        beats = threading.Thread(
            target=self._beat, args=(step, started, over), daemon=True, name=f"progress {name}"
        )
        beats.start()
        kind: Literal["done", "failed"] = "failed"
        try:
            yield step
            kind = "done"
        finally:
            over.set()
            beats.join()
            self._emit(ProgressEvent(kind, name, time.monotonic() - started, step.detail))

    def _beat(self, step: Step, started: float, over: threading.Event) -> None:
        while not over.wait(self._heartbeat_s):
            if not step.quiet:
                self._emit(ProgressEvent("beat", step.name, time.monotonic() - started, step.detail))

    def _emit(self, event: ProgressEvent) -> None:
        with self._lock:
            self._sink(event)


def as_text(event: ProgressEvent) -> str:
    """An event as one line of text."""
    detail = f" ({event.detail})" if event.detail else ""
    match event.kind:
        case "note":
            return f"{event.step}{detail}"
        case "start":
            return f"{event.step} ..."
        case "beat":
            return f"{event.step}: {event.elapsed_s:.0f} s so far{detail}"
        case "done":
            return f"{event.step}: done in {event.elapsed_s:.1f} s{detail}"
        case "failed":
            return f"{event.step}: FAILED after {event.elapsed_s:.1f} s{detail}"


def progress_to(say: Callable[[str], None], advance: Callable[[str], None] | None = None) -> Progress:
    """A progress that passes each line to `say`, and heartbeats to `advance` if it is given."""

    def show(event: ProgressEvent) -> None:
        (advance if advance is not None and event.kind == "beat" else say)(as_text(event))

    return Progress(show)


def silent() -> Progress:
    """A progress that shows nothing."""
    return Progress(lambda event: None)
