"""What the user sees while the lab works: a live view on a terminal, one JSON line per event elsewhere (on stderr)."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from lab.model.journal import Event
from lab.model.plan import Plan
from lab.model.quantities import format_duration
from lab.ports import Clock

_WORDS = {
    "fault_injecting": "injecting {fault}",
    "fault_in_force": "{fault} is in force (measured)",
    "fault_void": "{fault} is VOID: {why}",
    "fault_healing": "healing {fault}",
    "fault_healed": "{fault} healed",
    "heal_failed": "HEAL FAILED for {fault}: {why}",
    "settled": "{fault} settled, recovered: {recovered}",
    "sampler_died": "SAMPLER DIED: {sampler}: {why}",
    "clock_stepped": "the wall clock stepped by {by_ms} ms",
    "aborted": "ABORTED: {why}: healing, then judging what there is",
    "guardian_lost": "THE GUARDIAN DIED: {why}",
    "interrupted": "interrupted: healing, then judging what there is",
    "lab_failed": "THE LAB FAILED: {why}",
}
_SHOWN = {*_WORDS, "run_started", "phase_started", "run_ended", "load_chunk_ended", "observer_cost", "proof"}


class Progress:
    """Shows steps and events; `say` is for work before and after the run."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._rich = Console(file=stream, highlight=False)
        self._view: _View | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether a person watches."""
        return self._rich.is_terminal

    def say(self, text: str) -> None:
        """One line about work in progress."""
        if self.is_terminal:
            self._rich.print(f"[dim]·[/dim] {escape(text)}")
        else:
            print(json.dumps({"kind": "progress", "text": text}), file=self._stream, flush=True)

    def event(self, event: Event) -> None:
        """Show one journal event."""
        if not self.is_terminal:
            if event.kind in _SHOWN:
                print(json.dumps(event.to_json(), ensure_ascii=False), file=self._stream, flush=True)
            return
        if self._view is not None:
            self._view.see(event)
        if (words := _WORDS.get(event.kind)) is not None:
            at = format_duration(round(event.at_ms / 1000))
            self._rich.print(f"[dim]{at:>12}[/dim] {escape(words.format_map(event.data))}")

    @contextmanager
    def watching(self, plan: Plan, clock: Clock) -> Iterator[None]:
        """The live view while the run goes on; nothing where no person watches."""
        if not self.is_terminal:
            yield
            return
        self._view = _View(plan, clock)
        with Live(self._view, console=self._rich, refresh_per_second=2, transient=True):
            try:
                yield
            finally:
                self._view = None


class _View:
    """One line with a bar: where the run is, what is in force, how much is left."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._plan, self._clock = plan, clock
        self._step, self._fault = "starting", ""

    def see(self, event: Event) -> None:
        if event.kind == "phase_started":
            self._step = str(event.data["step"])
        elif event.kind == "fault_injecting":
            self._fault = str(event.data["fault"])
        elif event.kind == "fault_healed":
            self._fault = ""

    def __rich__(self) -> Table:
        elapsed_s = self._clock.now_ms() / 1000
        left_s = max(0, round(self._plan.duration_s - elapsed_s))
        row = Table.grid(padding=(0, 1))
        force = f"[bold red]in force: {escape(self._fault)}[/]" if self._fault else "[green]no fault[/]"
        bar = ProgressBar(
            total=self._plan.duration_s, completed=min(elapsed_s, self._plan.duration_s), width=30
        )
        row.add_row(bar, escape(self._step), force, f"about {format_duration(left_s)} left")
        return row
