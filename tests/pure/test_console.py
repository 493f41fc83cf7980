"""What people and machines see of a run that goes on: plain lines, the live view, and JSON lines."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from lab.cli.console import JsonLines, LiveView, LogForm, PlainLines, progress_in
from lab.cli.event_lines import EventLines
from lab.model.journal import Event
from lab.model.plan import FAULT
from tests.pure.evidence_factory import make


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at_ms = 0.0

    def now_ms(self) -> float:
        return self.at_ms

    def epoch_ms(self) -> float:
        return self.at_ms

    def wall(self) -> str:
        return f"2026-11-27T19:{44 + int(self.at_ms // 60_000)}:{self.at_ms % 60_000 / 1000:06.3f}Z"

    def sleep_s(self, seconds: float) -> None:
        self.at_ms += seconds * 1000

    def wall_steps(self, since_ms: float) -> Sequence[tuple[float, float]]:
        return ()


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def event(kind: str, at_s: float = 3.0, **data: Any) -> Event:
    return Event(0, "run", at_s * 1000, f"2026-11-27T19:44:{43 + at_s - 3:06.3f}Z", kind, data)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def plain(stream: io.StringIO, clock: Clock) -> Iterator[PlainLines]:
    lines = PlainLines(stream, clock)
    with lines.watching(make().plan, clock):
        yield lines


def test_a_log_has_one_plain_line_per_event_and_says_once_which_time_it_is(
    plain: PlainLines, stream: io.StringIO
) -> None:
    fault = make().plan.faults()[0]
    plain.say("emptying the store")
    measured = "40 of 200 echoes lost"
    plain.event(event("proof", fault=fault.id, moment="before", detail="0 of 200 echoes lost"))
    plain.event(event("fault_injecting", fault=fault.id, params={"loss": 0.2}))
    plain.event(event("effect", act="added rules"))
    plain.event(event("proof", fault=fault.id, moment="during", detail=measured))
    plain.event(event("fault_in_force", fault=fault.id))
    plain.event(event("fault_healed", 10, fault=fault.id))
    plain.event(event("settled", 19, fault=fault.id, recovered=False))
    who = f"{fault.id} on {fault.target}"
    assert stream.getvalue().splitlines() == [
        "times are UTC",
        "19:44:00 emptying the store",
        f"19:44:43 {who}: injecting (loss 0.2)",
        f"19:44:43 {who}: in force, {measured}; held for {fault.hold_s:.0f} s",
        f"19:44:50 {who}: healed",
        f"19:44:59 {who}: NOT recovered; watched for 9 s",
    ]


def test_progress_comes_at_most_every_15_seconds(
    plain: PlainLines, stream: io.StringIO, clock: Clock
) -> None:
    for second in range(60):
        clock.at_ms = second * 1000.0
        plain.advance(f"loaded {second} of 60")
    shown = [line for line in stream.getvalue().splitlines() if "loaded" in line]
    assert [line.split()[2] for line in shown] == ["0", "15", "30", "45"]


@pytest.mark.parametrize(("duration_s", "every_s"), [(600.0, 15), (1500.0, 30), (86_400.0, 60)])
def test_a_run_says_where_it_is_when_nothing_else_was_said_for_a_while(
    stream: io.StringIO, clock: Clock, duration_s: float, every_s: int
) -> None:
    plan = replace(make().plan, duration_s=duration_s)
    plain = PlainLines(stream, clock)
    plain.say("starting")
    plain.event(event("phase_started", phase=FAULT, step="f1-latency"))
    plain.event(event("fault_injecting", fault="f1-latency"))
    before = len(stream.getvalue().splitlines())
    for second in range(every_s):
        clock.at_ms = second * 1000.0
        plain.show_progress(plan, clock)
    assert len(stream.getvalue().splitlines()) == before
    clock.at_ms = every_s * 1000.0
    plain.show_progress(plan, clock)
    plain.show_progress(plan, clock)
    (line,) = stream.getvalue().splitlines()[before:]
    assert "f1-latency: " in line and " so far, " in line and line.endswith("in force: f1-latency")


def test_machines_get_the_events_of_the_journal_and_nothing_else(stream: io.StringIO) -> None:
    lines, proof = JsonLines(stream), event("proof", fault="f1-latency", moment="before", detail="x")
    lines.say("emptying the store")
    lines.advance("loaded 1 of 2")
    for shown in (proof, event("effect", act="added rules"), event("run_ended", rows={})):
        lines.event(shown)
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"kind": "progress", "text": "emptying the store"},
        {"kind": "progress", "text": "loaded 1 of 2"},
        proof.to_json(),
        event("run_ended", rows={}).to_json(),
    ]


@pytest.mark.parametrize(
    ("form", "stream", "expected"),
    [
        (LogForm.AUTO, io.StringIO(), PlainLines),
        (LogForm.AUTO, Terminal(), LiveView),
        (LogForm.PLAIN, Terminal(), PlainLines),
        (LogForm.JSON, Terminal(), JsonLines),
        (LogForm.JSON, io.StringIO(), JsonLines),
    ],
)
def test_the_form_fits_the_stream_unless_another_is_asked_for(
    form: LogForm, stream: io.StringIO, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress_in(form, stream), expected)


def test_what_a_target_says_stays_on_its_line(plain: PlainLines, stream: io.StringIO) -> None:
    plain.event(event("sampler_died", sampler="canary", why="a\nb\x1b[31m" + "x" * 999))
    (line,) = stream.getvalue().splitlines()[1:]
    assert line.startswith("19:44:43 SAMPLER DIED, canary: a b") and "\x1b" not in line and len(line) < 220


def test_a_reader_that_is_gone_ends_no_run(clock: Clock) -> None:
    closed = io.StringIO()
    closed.close()
    for lines in (PlainLines(closed, clock), JsonLines(closed)):
        lines.say("anybody there?")
        lines.event(event("run_ended"))


def test_a_terminal_that_was_closed_ends_no_run(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    class HungUp(Terminal):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    view = progress_in(LogForm.AUTO, HungUp())
    assert isinstance(view, LiveView)
    with view.watching(make().plan, clock):
        view.say("anybody there?")
        view.event(event("run_ended"))


def test_a_terminal_shows_the_lines_and_where_the_run_is(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    view = progress_in(LogForm.AUTO, stream)
    with view.watching(make().plan, clock):
        view.say("[bold]not markup[/bold]")
        view.event(event("phase_started", phase="steady", step="baseline"))
        view.event(event("effect", act="added rules"))
    assert "[bold]not markup[/bold]" in stream.getvalue() and "baseline: started" in stream.getvalue()


def test_each_event_that_ends_or_spoils_a_run_has_words() -> None:
    lines = EventLines()
    for kind in (
        "aborted",
        "guardian_lost",
        "interrupted",
        "lab_failed",
        "heal_failed",
        "fault_void",
        "lab_error",
    ):
        assert lines.line(event(kind, why="because", fault="f1")), kind
    assert lines.line(event("a_kind_of_tomorrow")) is None
    assert lines.line(event("load_chunk_ended", chunk="0001", dropped=0, truncated=False)) is None
    dropped = event("load_chunk_ended", chunk="0001", dropped=3, truncated=True)
    assert lines.line(dropped) == "load chunk 0001: 3 requests were not sent and its output breaks off"
