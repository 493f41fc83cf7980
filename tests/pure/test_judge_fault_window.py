"""When a fault was in force, when its recovery clock starts, and what makes it decide nothing."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from lab.judge.stats.observations import Observation, Observations
from lab.judge.stats.recovery_clock import Clock
from lab.judge.windows.fault_window import FaultWindow, FaultWindows
from lab.judge.windows.segments import find_segments
from lab.judge.windows.window import Window
from lab.judge.witnesses.streams import streams
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.plan import FAULT, PlannedFault, Step
from lab.model.recovery import CANARY
from tests.pure.evidence_factory import Recipe, make, resampled, with_journal

CONTAINER, TOXIC = {"type": "StartContainer"}, {"type": "RemoveToxic"}
ALONE = ("kill",)
TOGETHER = ("kill", "latency")


@cache
def run() -> Evidence:
    return make(Recipe(faults=(), baseline_s=60.0, clean_s=0))


def at(at_ms: float, kind: str, fault: str = "kill", segment: int = 0, **data: Any) -> Event:
    """An event of a fault; its number in the journal is its time."""
    return Event(int(at_ms), "run", at_ms, "", kind, {"fault": fault, **data}, segment)


def injecting(
    at_ms: float, undo: Mapping[str, str] | None = TOXIC, fault: str = "kill", **data: Any
) -> Event:
    return at(at_ms, "fault_injecting", fault, undo=undo, **data)


def step(name: str, from_ms: float, to_ms: float, *, segment: int = 0, complete: bool = True) -> Window:
    return Window(name, "fault", from_ms, to_ms, name, complete, segment)


def windows(
    *events: Event,
    kinds: tuple[str, ...] = ALONE,
    phases: tuple[Window, ...] = (step("chaos", 0.0, 50_000.0),),
) -> FaultWindows:
    """The windows of one step with these faults, each of which is named like its kind."""
    planned = tuple(PlannedFault(kind, kind, "qdrant", {}, 5.0, 30.0) for kind in kinds)
    plan = replace(run().plan, steps=(Step("chaos", FAULT, 50.0, planned),))
    ordered = sorted(events, key=lambda event: event.place)
    evidence = with_journal(replace(run(), plan=plan), ordered)
    return FaultWindows(evidence, phases, find_segments(evidence.journal))


def found(*events: Event, fault: str = "kill", **more: Any) -> FaultWindow:
    finder = windows(*events, **more)
    faults = finder.find(streams(run(), ()))
    return next(window for window in faults if window.planned.id == fault)


HEALED = (at(20_000, "fault_healing"), at(21_000, "fault_healed"))


def test_a_fault_lasts_from_the_issue_of_its_injection_to_the_end_of_its_step() -> None:
    fault = found(injecting(10_000), at(11_000, "fault_injected"), *HEALED)
    assert fault.span == Window("kill", "fault", 10_000.0, 50_000.0, "kill")
    assert fault.injected_ms == 11_000.0
    assert found(injecting(10_000), *HEALED).injected_ms == 10_000.0
    # A step that ended before leaves no time, and one without a phase lasts as long as its segment.
    assert found(injecting(60_000)).span == Window("kill", "fault", 60_000.0, 60_000.0, "kill")
    alone = found(injecting(10_000), *HEALED, phases=(step("other", 0.0, 90_000.0),))
    assert alone.span == Window("kill", "fault", 10_000.0, 21_000.0, "kill")
    # A step of another segment is none of this injection.
    later = (step("chaos", 0.0, 30_000.0), step("chaos", 60_000.0, 90_000.0, segment=1))
    assert found(injecting(10_000), *HEALED, phases=later).span == replace(
        step("kill", 10_000.0, 30_000.0), fault="kill"
    )


def test_a_fault_that_was_never_injected_has_no_time() -> None:
    fault = found(*HEALED)
    assert (fault.span, fault.injected_ms, fault.cleared_ms, fault.starts) == (None, 0.0, None, False)
    assert (fault.recovering, fault.recovery) == (None, None)
    assert len(fault.stream.in_slo) == 0
    assert fault.doubts == ("it was never injected",)


@pytest.mark.parametrize(
    ("events", "cleared", "starts"),
    [
        # A link is clear when it was healed; a container is free to start when its start is issued.
        ((injecting(10_000), *HEALED), (21_000.0, 21_000.0), False),
        ((injecting(10_000, CONTAINER), *HEALED), (20_000.0, 20_000.0), True),
        ((injecting(10_000, CONTAINER), at(15_000, "fault_healing"), *HEALED), (20_000.0, 20_000.0), True),
        # Only a start before the last heal counts.
        ((injecting(10_000, CONTAINER), *HEALED, at(22_000, "fault_healing")), (20_000.0, 20_000.0), True),
        ((injecting(10_000, CONTAINER), HEALED[1]), None, True),
        ((injecting(10_000, CONTAINER), HEALED[0]), None, True),
        ((injecting(10_000),), None, False),
        # A restart passes by itself: it is over some time between its issue and its return.
        (
            (injecting(10_000, transient=True), at(12_000, "fault_injected"), *HEALED),
            (10_000.0, 12_000.0),
            False,
        ),
        ((injecting(10_000, transient=True), *HEALED), (10_000.0, 21_000.0), False),
        ((injecting(10_000, transient=True), at(12_000, "fault_injected")), None, False),
        (
            (injecting(10_000, transient=1), at(12_000, "fault_injected"), *HEALED),
            (21_000.0, 21_000.0),
            False,
        ),
        # In the oldest journals there is no undo, and of their kinds only `kill` was healed by a start.
        ((injecting(10_000, None), *HEALED), (20_000.0, 20_000.0), True),
    ],
)
def test_when_the_clock_of_the_recovery_starts(
    events: tuple[Event, ...], cleared: tuple[float, float] | None, starts: bool
) -> None:
    fault = found(*events)
    assert (fault.cleared_from_ms, fault.cleared_ms) == (cleared or (None, None))
    assert fault.starts is starts


def test_an_old_fault_of_another_kind_was_not_healed_by_a_start() -> None:
    fault = found(injecting(10_000, None, "latency"), fault="latency", kinds=("latency",))
    assert not fault.starts


def test_the_clock_starts_when_the_last_fault_of_the_step_was_cleared() -> None:
    other = (injecting(12_000, fault="latency"), at(25_000, "fault_healed", "latency"))
    fault = found(injecting(10_000), *HEALED, *other, kinds=TOGETHER)
    assert (fault.cleared_from_ms, fault.cleared_ms) == (25_000.0, 25_000.0)
    assert fault.cleared_by_another == " (the last heal of its step, when nothing was in force any more)"
    assert found(injecting(10_000), *HEALED, *other, kinds=TOGETHER, fault="latency").cleared_by_another == ""
    assert found(injecting(10_000), *HEALED).cleared_by_another == ""
    # One that was never injected is not waited for, and one that was never healed hides every recovery.
    assert found(injecting(10_000), *HEALED, kinds=TOGETHER).cleared_ms == 21_000.0
    assert found(injecting(10_000), *HEALED, other[0], kinds=TOGETHER).cleared_ms is None
    assert found(*other, kinds=TOGETHER).cleared_ms is None
    # The two ends are the latest of each: the other one may have passed by itself until 30 s.
    passing = injecting(12_000, fault="latency", transient=True), at(30_000, "fault_injected", "latency")
    more = (*passing, at(31_000, "fault_healed", "latency"))
    fault = found(injecting(10_000), *HEALED, *more, kinds=TOGETHER)
    assert (fault.cleared_from_ms, fault.cleared_ms) == (21_000.0, 30_000.0)


def test_a_fault_that_is_healed_by_a_start_is_not_cleared_by_another() -> None:
    fault = found(injecting(10_000, CONTAINER), *HEALED)
    assert fault.cleared_by_another == ""
    later = replace(fault, cleared_ms=20_500.0)
    assert later.cleared_by_another == " (the last heal of its step, when nothing was in force any more)"
    assert replace(fault, cleared_ms=None).cleared_by_another == ""
    assert replace(fault, events=()).cleared_by_another == ""


def test_what_is_doubted_of_the_other_faults_of_the_step() -> None:
    other = (injecting(12_000, fault="latency"), at(25_000, "fault_healed", "latency"))
    fault = found(injecting(10_000), *HEALED, *other, kinds=TOGETHER)
    gone = "its effect was never measured as gone after the heal"
    assert fault.heal_doubts == (gone,)
    assert fault.shared_doubts == (f"latency, in force with it: {gone}",)
    assert found(injecting(10_000), *HEALED).shared_doubts == ()


def test_the_run_is_steady_again_at_the_end_of_the_step_of_a_fault_that_was_healed() -> None:
    assert list(windows(*HEALED).unsteady()) == []
    assert list(windows(injecting(10_000), *HEALED).unsteady()) == [(10_000.0, 50_000.0)]
    assert list(windows(injecting(10_000)).unsteady()) == [(10_000.0, float("inf"))]
    both = (injecting(10_000), injecting(12_000, fault="latency"), *HEALED)
    assert list(windows(*both, kinds=TOGETHER).unsteady()) == [(10_000.0, 50_000.0), (12_000.0, float("inf"))]
    # A step that is cut and begins again is over at its last end.
    twice = (step("chaos", 0.0, 30_000.0), step("chaos", 60_000.0, 90_000.0, segment=1))
    assert list(windows(injecting(10_000), *HEALED, phases=twice).unsteady()) == [(10_000.0, 90_000.0)]
    late = windows(injecting(55_000), at(57_000, "fault_healed"))
    assert list(late.unsteady()) == [(55_000.0, 55_000.0)]
    # Without a step, it is not steady before the end of the last segment.
    ended = at(70_000, "run_ended", "", segment=1)
    assert list(windows(injecting(10_000), *HEALED, ended, phases=()).unsteady()) == [(10_000.0, 70_000.0)]
    last = at(80_000, "run_ended", "", segment=2)
    assert list(windows(injecting(10_000), *HEALED, ended, last, phases=()).unsteady()) == [
        (10_000.0, 80_000.0)
    ]


def test_a_fault_whose_step_was_cut_decides_nothing() -> None:
    second = at(80_000, "fault_healed", segment=1)
    cut = found(injecting(10_000), second, at(90_000, "fault_healed", segment=2))
    assert "its step was cut between the segments 0 and 2" in cut.doubts
    assert "its step was cut between the segments 0 and 1" in found(injecting(10_000), second).doubts
    ended = at(90_000, "run_ended", "", segment=1)
    whole, half = step("chaos", 0.0, 50_000.0), step("chaos", 0.0, 50_000.0, complete=False)
    by_the_end = "its step was cut by the end of segment 0"
    assert by_the_end in found(injecting(10_000), *HEALED, ended, phases=(half,)).doubts
    assert by_the_end not in found(injecting(10_000), *HEALED, ended, phases=(whole,)).doubts
    # Only the step in the segment of the fault counts, and in the last segment nothing cuts it.
    again = replace(half, segment=1)
    assert by_the_end not in found(injecting(10_000), *HEALED, ended, phases=(whole, again)).doubts
    assert "its step was cut by the end of segment 0" not in found(injecting(10_000), phases=(half,)).doubts
    assert not any("cut" in doubt for doubt in found(ended, phases=(half,)).doubts)


def test_the_proof_of_a_moment() -> None:
    events = (
        at(1, "proof", moment="during", holds=False),
        at(2, "proof", moment="during", holds=True),
        at(3, "proof", moment="during", holds=True),
        at(4, "proof", moment="still", holds=True),
        at(5, "proof", moment="still", holds=False),
    )
    fault = found(*events)
    assert fault.proof("during") is events[1]
    assert fault.proof("still") is events[4]
    assert fault.proof("after") is None
    assert replace(fault, events=events[:1]).proof("during") is events[0]
    assert replace(fault, events=(replace(events[1], data={**events[1].data, "holds": 1}),)).proof("during")
    assert fault.event("proof") is events[4]


def test_a_fault_is_present_until_the_target_recovered() -> None:
    fault = found(injecting(10_000), *HEALED)
    recovered = replace(fault, recovering=Observation(30_000.0, 30_100.0, True))
    assert recovered.until_recovered == Window("kill", "fault", 10_000.0, 30_100.0, "kill")
    assert replace(fault, recovering=None).until_recovered == fault.span
    assert replace(recovered, span=None).until_recovered is None


def test_the_recovery_is_that_of_the_first_good_observation_after_the_clearing() -> None:
    """The observations of the healthy run, which sends one each half second from 1 s on."""
    fault = found(injecting(10_000, transient=True), at(12_000, "fault_injected"), *HEALED)
    assert fault.recovering is not None
    assert fault.recovering.sent_ms == 12_000.0
    assert fault.recovery is not None
    from_heal, from_injection = fault.recovery
    # The call was over between 10 s and 12 s, so the clock from it says up to two seconds more.
    assert from_heal.hi_s == pytest.approx((fault.recovering.done_ms - 10_000.0) / 1000)
    assert from_injection == Clock(0.0, 0.0, censored=False)
    never = found(injecting(10_000))
    assert (never.recovering, never.recovery) == (None, None)
    assert fault.clocks(Observations.of(()), CANARY) is None
    assert replace(fault, span=None).clocks(fault.stream.in_slo, CANARY) is None


@pytest.mark.parametrize(("stays_well_s", "sent_ms"), [(30.0, 50_500.0), (5.0, 21_000.0)])
def test_a_relapse_counts_as_long_as_the_plan_says(stays_well_s: float, sent_ms: float) -> None:
    """The canary is refused from 45 s to 50 s, long after the fault was healed at 21 s."""
    probes = [
        replace(probe, outcome="transport") if 45_000 <= probe.sent_ms <= 50_000 else probe
        for probe in run().samples.probes
    ]
    plan = replace(run().plan, stays_well_s=stays_well_s)
    relapsing = replace(resampled(run(), probes=probes), plan=plan)
    finder = windows(injecting(10_000), *HEALED, phases=(step("chaos", 0.0, 80_000.0),))
    (fault,) = finder.find(streams(relapsing, ()))
    assert fault.recovering is not None
    assert fault.recovering.sent_ms == sent_ms


def test_only_a_fault_that_was_in_force_alone_is_asked_what_crossed() -> None:
    felt = {"routes": ["store"], "effect": "crosses"}
    drafts = (injecting(10_000, own_traffic=felt), at(19_999, "fault_in_force"), *HEALED)
    unread = "the target's own connections were not read while it was in force"
    assert unread in found(*drafts).doubts
    assert unread not in found(*drafts, kinds=TOGETHER).doubts
