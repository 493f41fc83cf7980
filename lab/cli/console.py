"""What the user sees while the lab works, on stderr.

A terminal gets a live view. A log gets plain lines, one per event, with progress at most every 15 seconds. With
`--log json` machines get one JSON object per line.
"""

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from lab.cli.event_lines import EventLines, for_machines
from lab.model.journal import Event
from lab.model.plan import Plan
from lab.model.quantities import format_duration
from lab.observe.clock import RunClock
from lab.ports import Clock, Progress
from lab.report.escaping import one_line

PROGRESS_EVERY_S = 15.0
# A run of hours needs fewer lines: about this many, but at least one a minute, to show that it is alive.
PROGRESS_LINES, PROGRESS_EVERY_MAX_S = 50, 60.0
TICK_S = 1.0
TEXT_CHARS_MAX = 2000
# A reader that is gone (a closed pipe, a full disk) must not end a run.
_UNWRITABLE = (OSError, ValueError)


class LogForm(StrEnum):
    """The forms of the output: `auto` is the live view on a terminal and plain lines elsewhere."""

    AUTO = "auto"
    PLAIN = "plain"
    JSON = "json"


def progress_in(form: LogForm = LogForm.AUTO, stream: TextIO | None = None) -> Progress:
    """Progress in the form that was asked for, on stderr unless another stream is given."""
    stream = sys.stderr if stream is None else stream
    if form is LogForm.JSON:
        return JsonLines(stream)
    console = Console(file=stream, highlight=False)
    return LiveView(console) if form is LogForm.AUTO and console.is_terminal else PlainLines(stream)


class JsonLines:
    """One JSON object per line: events as in the journal, everything else as `{"kind": "progress", "text": ...}`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        """One step of the work around a run."""
        self._print({"kind": "progress", "text": text})

    def advance(self, text: str) -> None:
        """How far a long step has come."""
        self.say(text)

    def event(self, event: Event) -> None:
        """One event of the journal."""
        if for_machines(event):
            self._print(event.to_json())

    @contextmanager
    def watching(self, plan: Plan, clock: Clock) -> Iterator[None]:
        """Do nothing, because programs need only the events."""
        yield

    def _print(self, value: Mapping[str, Any]) -> None:
        with suppress(*_UNWRITABLE):
            print(json.dumps(value, ensure_ascii=False), file=self._stream, flush=True)


class PlainLines:
    """One line per event, each with its time in UTC, for people who read a log; safe for several threads."""

    def __init__(self, stream: TextIO, clock: Clock | None = None) -> None:
        self._stream = stream
        self._clock: Clock = RunClock() if clock is None else clock
        self._lock = threading.RLock()
        self._lines = EventLines()
        # When the last line was printed, and the last one about progress.
        self._printed_ms: float | None = None
        self._advanced_ms = float("-inf")

    def say(self, text: str) -> None:
        """One step of the work around a run."""
        self._print(self._clock.wall(), text)

    def advance(self, text: str) -> None:
        """How far a long step has come; shown at most every 15 seconds."""
        with self._lock:
            if self._clock.now_ms() - self._advanced_ms >= PROGRESS_EVERY_S * 1000:
                self._advanced_ms = self._clock.now_ms()
                self.say(text)

    def event(self, event: Event) -> None:
        """One event of the journal, where it has words for people."""
        with self._lock:
            if (text := self._lines.line(event)) is not None:
                self._print(event.wall, text)

    @contextmanager
    def watching(self, plan: Plan, clock: Clock) -> Iterator[None]:
        """While the run goes on, say how far it is whenever nothing else was said for a while."""
        self._lines.follow(plan)
        over = threading.Event()

        def watch() -> None:
            while not over.wait(TICK_S):
                self.show_progress(plan, clock)

        thread = threading.Thread(target=watch, daemon=True, name="progress lines")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def show_progress(self, plan: Plan, clock: Clock) -> None:
        """Say how far the run is, unless something was said a short while ago."""
        every_s = min(PROGRESS_EVERY_MAX_S, max(PROGRESS_EVERY_S, plan.duration_s / PROGRESS_LINES))
        with self._lock:
            if self._printed_ms is None or self._clock.now_ms() - self._printed_ms >= every_s * 1000:
                lasted = format_duration(round(clock.now_ms() / 1000))
                planned = format_duration(round(plan.duration_s))
                self.say(
                    f"{self._lines.step}: {lasted} so far, {planned} planned at least; {self._lines.state}"
                )

    def _print(self, wall: str, text: str) -> None:
        with self._lock, suppress(*_UNWRITABLE):
            if self._printed_ms is None:
                print("times are UTC", file=self._stream)
            self._printed_ms = self._clock.now_ms()
            print(f"{wall[11:19]} {one_line(text, TEXT_CHARS_MAX)}", file=self._stream, flush=True)


class LiveView:
    """A terminal: a line for each event, and below them a bar that shows where the run is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines = EventLines()

    def say(self, text: str) -> None:
        """One step of the work around a run."""
        self._print(f"[dim]·[/dim] {escape(one_line(text, TEXT_CHARS_MAX))}")

    def advance(self, text: str) -> None:
        """How far a long step has come."""
        self.say(text)

    def event(self, event: Event) -> None:
        """One event of the journal, with the time since the run began."""
        if (text := self._lines.line(event)) is not None:
            at = format_duration(round(event.at_ms / 1000))
            self._print(f"[dim]{at:>12}[/dim] {escape(text)}")

    @contextmanager
    def watching(self, plan: Plan, clock: Clock) -> Iterator[None]:
        """Show the bar while the run goes on."""
        self._lines.follow(plan)
        bar = _Bar(plan, clock, self._lines)
        live = Live(bar, console=self._console, refresh_per_second=2, transient=True)
        with suppress(*_UNWRITABLE):
            live.start()
        try:
            yield
        finally:
            with suppress(*_UNWRITABLE):
                live.stop()

    def _print(self, markup: str) -> None:
        with suppress(*_UNWRITABLE):
            self._console.print(markup)


class _Bar:
    """One line with a bar: where the run is, what is in force, how much is left."""

    def __init__(self, plan: Plan, clock: Clock, lines: EventLines) -> None:
        self._plan, self._clock, self._lines = plan, clock, lines

    def __rich__(self) -> Table:
        elapsed_s = self._clock.now_ms() / 1000
        left_s = max(0, round(self._plan.duration_s - elapsed_s))
        row = Table.grid(padding=(0, 1))
        colour = "bold red" if self._lines.in_force else "green"
        bar = ProgressBar(
            total=self._plan.duration_s, completed=min(elapsed_s, self._plan.duration_s), width=30
        )
        state = f"[{colour}]{escape(self._lines.state)}[/]"
        row.add_row(bar, escape(self._lines.step), state, f"about {format_duration(left_s)} left")
        return row
