"""Steps, steady windows and segments come from the journal's clock alone, and end where the run was stopped."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from lab.judge.windows.incidents import Incident
from lab.judge.windows.segments import Segment, find_segments, segment_at
from lab.judge.windows.timeline import Windows, find_windows
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from tests.pure.evidence_factory import Recipe, make, with_journal

FAULT = "f1-latency"


@cache
def run() -> Evidence:
    """The plan has the steps `warm-up`, `baseline`, `f1-latency` and `clean-1`; the target was well all the time."""
    well = make(Recipe(faults=(), baseline_s=100.0, clean_s=0))
    return replace(make(Recipe(faults=("latency",), baseline_s=20.0, clean_s=20.0)), samples=well.samples)


def at(at_ms: float, kind: str, segment: int = 0, **data: Any) -> Event:
    return Event(int(at_ms), "run", at_ms, "", kind, data, segment)


def step(
    name: str, from_ms: float, to_ms: float | None, phase: str = "steady", segment: int = 0
) -> list[Event]:
    began = at(from_ms, "phase_started", segment, step=name, phase=phase)
    return [began] if to_ms is None else [began, at(to_ms, "phase_ended", segment, step=name)]


def windows(*events: Event) -> Windows:
    """The windows of a run with these events, which begins at 0."""
    return find_windows(with_journal(run(), sorted([at(0, "run_started"), *events], key=lambda e: e.place)))


def times(found: tuple[Window, ...]) -> list[tuple[str, float, float]]:
    return [(window.name, window.from_ms, window.to_ms) for window in found]


BASELINE = step("baseline", 1000, 30_000)
CHAOS = step(FAULT, 30_000, 60_000, "fault")
CLEAN = step("clean-1", 60_000, 80_000)
INJECTING = at(31_000, "fault_injecting", fault=FAULT, undo={"type": "RemoveToxic"})
HEALED = at(50_000, "fault_healed", fault=FAULT)


def test_each_step_as_it_ran() -> None:
    found = windows(*BASELINE, *CHAOS, at(90_000, "run_ended"))
    assert found.phases == (
        Window("baseline", "steady", 1000.0, 30_000.0),
        Window(FAULT, "fault", 30_000.0, 60_000.0, FAULT),
    )
    assert times(found.steady) == [("baseline", 1000.0, 30_000.0)]
    assert (found.from_ms, found.to_ms) == (0.0, 90_000.0)


@pytest.mark.parametrize("kind", ["interrupted", "aborted", "lab_failed"])
def test_a_step_without_a_recorded_end_lasts_to_the_event_that_stopped_the_run(kind: str) -> None:
    found = windows(
        *step("baseline", 1000, None), at(40_000, kind), at(45_000, kind), at(90_000, "run_ended")
    )
    assert found.phases == (Window("baseline", "steady", 1000.0, 40_000.0, complete=False),)
    assert found.to_ms == 40_000.0
    # One that began after that has no length.
    late = windows(*step("baseline", 50_000, None), at(40_000, kind), at(90_000, "run_ended"))
    assert times(late.phases) == [("baseline", 50_000.0, 50_000.0)]


def test_a_step_that_was_cut_begins_again_in_the_next_segment() -> None:
    first = [*step("baseline", 1000, None), at(20_000, "interrupted"), at(21_000, "run_ended")]
    second = [at(50_000, "segment_started", 1), *step("baseline", 51_000, 80_000, segment=1)]
    found = windows(*first, *second, at(90_000, "run_ended", 1))
    assert found.phases == (
        # What stopped an earlier segment does not end the run.
        Window("baseline", "steady", 1000.0, 21_000.0, complete=False),
        Window("baseline", "steady", 51_000.0, 80_000.0, segment=1),
    )
    assert (found.from_ms, found.to_ms) == (0.0, 90_000.0)
    assert [segment.number for segment in found.segments] == [0, 1]


def test_no_time_is_steady_from_an_injection_to_the_end_of_its_step() -> None:
    events = (*BASELINE, *CHAOS, INJECTING, *CLEAN, at(90_000, "run_ended"))
    assert times(windows(*events, HEALED).steady) == [
        ("baseline", 1000.0, 30_000.0),
        ("clean-1", 60_000.0, 80_000.0),
    ]
    # One that was not healed leaves no steady time after it.
    assert times(windows(*events).steady) == [("baseline", 1000.0, 30_000.0)]


def test_nothing_is_steady_after_somebody_else_acted() -> None:
    acted = at(75_000, "container_event", service="qdrant", action="kill")
    found = windows(*BASELINE, *CHAOS, INJECTING, HEALED, *CLEAN, acted, at(90_000, "run_ended"))
    assert found.outside == (70_000.0, "somebody else acted on qdrant: kill (journal:75000)")
    assert times(found.steady) == [("baseline", 1000.0, 30_000.0), ("clean-1", 60_000.0, 70_000.0)]


@pytest.mark.parametrize(("at_ms", "doubted"), [(65_000, False), (64_999, True), (10_000, True)])
def test_a_fault_is_doubted_if_somebody_acted_before_its_step_ended(at_ms: float, doubted: bool) -> None:
    acted = at(at_ms, "container_event", service="qdrant", action="kill")
    found = windows(*BASELINE, *CHAOS, INJECTING, HEALED, acted, at(90_000, "run_ended"))
    why = f"somebody else acted on qdrant: kill (journal:{at_ms})"
    own = "its injection was never completed"
    assert found.faults[0].doubts == ((own, why) if doubted else (own,))
    never = windows(*BASELINE, *CHAOS, acted, at(90_000, "run_ended"))
    assert never.faults[0].doubts == ("it was never injected",)


def test_the_kinds_of_faults_at_a_time() -> None:
    kinds = ((1000.0, frozenset({"kill"})), (2000.0, frozenset({"latency"})))
    found = Windows((), (), (), 0.0, 9000.0, kinds=kinds)
    assert [found.kinds_at(at_ms) for at_ms in (999.0, 1000.0, 1999.0, 2000.0)] == [
        frozenset(),
        frozenset({"kill"}),
        frozenset({"kill"}),
        frozenset({"latency"}),
    ]
    assert replace(found, kinds=()).kinds_at(1000.0) == frozenset()


def test_a_kind_is_present_from_the_injection_until_the_target_recovered() -> None:
    events = (*BASELINE, *CHAOS, INJECTING, at(32_000, "fault_injected", fault=FAULT), *CLEAN)
    found = windows(*events, HEALED, at(90_000, "run_ended"))
    (fault,) = found.faults
    assert fault.recovering is not None
    latency = frozenset({"latency"})
    assert found.kinds == ((31_000.0, latency), (fault.recovering.done_ms, frozenset()))
    # Without a recovery, it is present to the end of its step.
    assert windows(*events, at(90_000, "run_ended")).kinds == ((31_000.0, latency), (60_000.0, frozenset()))
    assert windows(*BASELINE, at(90_000, "run_ended")).kinds == ()


def test_the_kinds_of_two_faults_that_follow_and_overlap() -> None:
    evidence = make(Recipe(faults=("latency", "kill"), baseline_s=20.0, clean_s=0))
    first, second = (step.faults[0] for step in evidence.plan.steps if step.faults)
    for first_end, second_begin, between in (
        (60_000, 70_000, frozenset[str]()),
        (60_000, 60_000, frozenset({"kill"})),
        (60_000, 50_000, frozenset({"kill"})),
    ):
        events = [
            at(0, "run_started"),
            *step(first.id, 30_000, first_end, "fault"),
            at(31_000, "fault_injecting", fault=first.id),
            *step(second.id, second_begin, 90_000, "fault"),
            at(second_begin + 1, "fault_injecting", fault=second.id),
            at(95_000, "run_ended"),
        ]
        found = find_windows(with_journal(evidence, sorted(events, key=lambda event: event.at_ms)))
        assert found.kinds_at(31_000.0) == frozenset({"latency"})
        assert found.kinds_at(60_001.0) == between
        both = {"latency", "kill"} if second_begin == 50_000 else {"latency"}
        assert found.kinds_at(59_999.0) == both
        assert found.kinds_at(80_000.0) == frozenset({"kill"})
        assert found.kinds_at(90_000.0) == frozenset()


def test_the_incidents_of_a_stream_within_windows_and_whether_a_time_is_steady() -> None:
    load, probes = (Incident(10.0, 20.0, frozenset({name}), "why") for name in ("requests", "probes"))
    steady = (Window("a", "steady", 0.0, 15.0), Window("b", "steady", 30.0, 40.0))
    found = Windows((), steady, (), 0.0, 99.0, incidents=(load, probes))
    assert found.touching("requests", *steady) == [load]
    assert found.touching("requests", steady[1]) == []
    assert [found.is_steady(at_ms) for at_ms in (0.0, 15.0, 35.0, 40.0)] == [True, False, True, False]


def test_the_segments_of_a_journal() -> None:
    first = (at(1000, "run_started"), at(5000, "phase_started"), at(4000, "run_ended"))
    second = (at(9000, "segment_started", 1), at(12_000, "phase_ended", 1))
    assert find_segments(Journal((*second, *first))) == (
        # An event may have been written a little later than one with a later time.
        Segment(0, 1000.0, 5000.0, True, False, first),
        Segment(1, 9000.0, 12_000.0, False, True, second),
    )
    assert find_segments(Journal(())) == (Segment(0, 0.0, 0.0, False, True, ()),)
    assert find_segments(Journal((replace(first[2], kind="phase_ended"),)))[0].ended is False


def test_a_time_belongs_to_the_last_segment_that_began_by_then() -> None:
    segments = find_segments(Journal((at(1000, "a"), at(5000, "b", 1), at(9000, "c", 2))))
    found = [segment_at(segments, at_ms).number for at_ms in (0.0, 1000.0, 4999.0, 5000.0, 8999.0, 10_000.0)]
    assert found == [0, 0, 0, 1, 1, 2]


def test_a_run_without_events_has_no_time() -> None:
    found = find_windows(with_journal(run(), ()))
    assert (found.phases, found.steady, found.from_ms, found.to_ms) == ((), (), 0.0, 0.0)
