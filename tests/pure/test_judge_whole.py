"""What concerns a run as a whole: what its guardian did, what ended it, and its incidents in words."""

from dataclasses import replace
from typing import Any

import pytest

from lab.judge.whole.guardian_acts import guardian_acts
from lab.judge.whole.incident_list import listed, whole_run
from lab.judge.windows.incidents import Incident
from lab.judge.windows.segments import find_segments
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.model.journal import Event, Journal
from lab.model.plan import FAULT
from tests.pure.test_judge_integrity import RUN, STEADY_PHASE, WHOLE, events, run
from tests.pure.window_factory import fault_window

KILL = RUN.faults()[0]


def guarded(*drafts: tuple[str, dict[str, Any]], segment: int = 0, first: int = 0) -> list[Event]:
    found = events(
        *((100.0 * n, kind, data) for n, (kind, data) in enumerate(drafts)), segment=segment, first=first
    )
    return [replace(event, writer="guardian") for event in found]


LED = [replace(WHOLE[0], data={}), *events((1.0, "guardian_started", {}), first=1)]


def acts(guardian: Journal | None, *found: list[Event]) -> list[str]:
    run_events = [event for part in found for event in part]
    evidence = run(run_events, guardian=guardian)
    return list(guardian_acts(evidence, find_segments(evidence.journal)))


def test_what_the_guardian_did_in_the_last_segment_is_a_problem() -> None:
    usual = guarded(("guardian_started", {}), ("lease_taken", {}), ("guardian_ended", {}))
    assert acts(Journal(tuple(usual)), LED) == []
    acted = guarded(
        ("guardian_started", {}),
        ("fenced", {"why": "late"}),
        ("healed", {"fault": "f1"}),
        ("ended_process", {}),
    )
    assert acts(Journal(tuple(acted)), LED) == [
        "the guardian acted: fenced late (guardian:1)",
        "the guardian acted: healed f1 (guardian:2)",
        "the guardian acted: ended_process  (guardian:3)",
    ]
    later = events((50.0, "segment_started", {}), (51.0, "guardian_started", {}), segment=1)
    second = guarded(("guardian_started", {}), segment=1)
    assert acts(Journal((*acted, *second)), LED, later) == [], "an earlier segment's acts are incidents"


def test_a_guardian_s_journal_must_be_there_and_whole() -> None:
    assert acts(None, LED) == ["guardian.jsonl is missing, though the run had a guardian"]
    assert acts(None, [WHOLE[0]]) == []
    assert acts(Journal((), damage="line 2"), [WHOLE[0]]) == [
        "guardian.jsonl is damaged: line 2",
        "guardian.jsonl does not begin with guardian_started",
    ]
    holed = [*guarded(("guardian_started", {})), *guarded(("lease_taken", {}), first=2)]
    assert acts(Journal(tuple(holed)), LED) == ["events are missing from guardian.jsonl, or out of order"]
    later = events((50.0, "segment_started", {}), (51.0, "guardian_started", {}), segment=1)
    first = Journal(tuple(guarded(("guardian_started", {}))))
    assert acts(first, LED, later) == ["guardian-1.jsonl is missing, though the run had a guardian"]
    assert acts(first, LED, later[:1]) == []
    second = guarded(("lease_taken", {}), segment=1)
    assert acts(Journal((*first.events, *second)), LED, later) == [
        "guardian-1.jsonl does not begin with guardian_started"
    ]
    # One missing journal does not hide what the next one shows.
    third = events((90.0, "segment_started", {}), segment=2)
    late = guarded(("guardian_started", {}), ("fenced", {}), segment=2)
    assert acts(Journal((*first.events, *late)), LED, later, third)[1:] == [
        "the guardian acted: fenced  (guardian:2/1)"
    ]


def told(found: list[Event], incidents: tuple[Incident, ...] = (), outside: Any = None) -> list[str]:
    evidence = run([*WHOLE[:1], *found])
    segments = find_segments(evidence.journal)
    windows = Windows((), (), (), 0.0, 20_000.0, outside, incidents, (), segments)
    return list(whole_run(evidence, windows))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("interrupted", "the run was interrupted: Ctrl-C (journal:1)"),
        ("aborted", "the run was aborted: Ctrl-C (journal:1)"),
        ("guardian_lost", "the guardian was lost: Ctrl-C (journal:1)"),
        ("lab_failed", "the lab itself failed: Ctrl-C (journal:1)"),
        ("lab_error", "an unexpected error in the lab: KeyError in the loop (journal:1)"),
    ],
)
def test_what_concerns_the_whole_run_is_told_with_its_place(kind: str, text: str) -> None:
    data = {"why": "Ctrl-C", "error": "KeyError", "where": "the loop"}
    (event,) = events((5.0, kind, data), first=1)
    assert told([event]) == [text]
    bare = replace(event, data={})
    assert told([bare])[0] == text.replace("Ctrl-C", "").replace("KeyError", "").replace("the loop", "")


def test_an_error_in_the_work_on_one_fault_and_an_interruption_that_was_resumed_are_incidents() -> None:
    one, two = events((5.0, "lab_error", {}), (6.0, "lab_error", {"error": "E", "where": "w"}), first=1)
    incident = Incident(0, 10, None, "an error", one)
    other = replace(incident, event=replace(two, kind="sampler_died"))
    expected = ["an unexpected error in the lab: E in w (journal:2)"]
    assert told([one, two], (incident, other, replace(incident, event=None))) == expected
    stop = events((5.0, "interrupted", {"why": "x"}), first=1)
    aborted = events((6.0, "aborted", {"why": "y"}), first=2)
    later = events((9.0, "segment_started", {}), segment=1)
    assert told([*stop, *aborted, *later]) == ["the run was aborted: y (journal:2)"]
    assert told([], outside=(7.0, "somebody stopped a container")) == [
        "somebody stopped a container; nothing after it is judged"
    ]


def test_incidents_are_listed_with_what_they_touch_and_at_most_twenty() -> None:
    span = Window(KILL.id, FAULT, 16_000.0, 30_000.0, KILL.id)
    windows = Windows(
        (), (STEADY_PHASE,), (fault_window(KILL, span), fault_window(KILL, None)), 0.0, 40_000.0
    )
    (event,) = events((5.0, "sampler_died", {}), first=4)
    both = Incident(10_000, 20_000, frozenset({"recall", "probes"}), "it died", event)
    silence = Incident(35_000, 36_000, frozenset({"recall"}), "nothing was asked")
    outside = replace(silence, event=event, why="late")
    found = listed(replace(windows, incidents=(both, silence, replace(silence, from_ms=29_000), outside)))
    assert found == [
        f"it died (journal:4), touches probes, recall of baseline, {KILL.id}",
        f"nothing was asked, touches recall of {KILL.id}",
        "late (journal:4), touches recall of nothing that is judged",
    ]
    twenty = tuple(replace(both, why=f"number {n}") for n in range(20))
    assert len(listed(replace(windows, incidents=twenty))) == 20
    more = listed(replace(windows, incidents=(*twenty, both, both)))
    assert more[-1] == "and 2 more; the table of gaps has them all" and len(more) == 21
    assert listed(replace(windows, incidents=(*twenty, both)))[-1].startswith("and 1 more;")
