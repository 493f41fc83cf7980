"""A recovery is judged only where it was observed: without a long pause, and for as long as it must hold."""

from dataclasses import dataclass, replace

import pytest

from lab.judge.stats.observations import Observation, Observations
from lab.judge.windows.fault_window import FaultWindow
from lab.judge.windows.incidents import Incident
from lab.judge.windows.timeline import Windows
from lab.judge.windows.watch_gaps import (
    doubts_of,
    long_pause,
    stayed_well,
    touching_recovery,
    watched_too_short,
)
from lab.judge.windows.window import Window
from lab.judge.witnesses.limits import Limits
from lab.model.journal import Event
from lab.model.plan import PlannedFault
from lab.model.recovery import FIVE_IN_A_ROW, Rule

RULE = Rule(window=20, enough=19, hold_ms=30_000.0, gap_ms=1500.0)
SPAN = Window("f1", "fault", 1000.0, 60_000.0, "f1")
PLANNED = PlannedFault("f1", "kill", "qdrant", {}, 5.0, 30.0)


@dataclass(frozen=True)
class Watched:
    """A stream with these observations; the canary is slower once the target has recovered."""

    in_slo: Observations
    rule: Rule = RULE
    calm_pause_ms: float = 2500.0
    limits: Limits | None = None
    name: str = "probes"
    silence: str = "nobody asked"
    tables: tuple[str, ...] = ("probes", "recall")

    def answering(self) -> Observations:
        return self.in_slo

    def accurate(self) -> tuple[Observations, Rule]:
        return self.in_slo, FIVE_IN_A_ROW


def fault(
    *sent_ms: float, recovering: float | None = None, unasked: tuple[float, ...] = (), to_ms: float = 60_000.0
) -> FaultWindow:
    """A fault that was cleared at 10 s; `recovering` is when the probe was sent that showed the recovery."""
    rows = [Observation(at_ms, at_ms + 10, True) for at_ms in sent_ms]
    rows += [Observation(at_ms, at_ms, False, asked=False) for at_ms in unasked]
    return FaultWindow(
        planned=PLANNED,
        events=(),
        span=replace(SPAN, to_ms=to_ms),
        injected_ms=1100.0,
        cleared_from_ms=10_000.0,
        cleared_ms=10_000.0,
        starts=False,
        doubts=("no proof",),
        heal_doubts=("not healed",),
        shared_doubts=("the other was not healed",),
        stream=Watched(Observations.of(rows)),
        recovering=None if recovering is None else Observation(recovering, recovering + 100, True),
    )


def every(step_ms: float, from_ms: float, to_ms: float) -> tuple[float, ...]:
    return tuple(from_ms + n * step_ms for n in range(int((to_ms - from_ms) // step_ms) + 1))


def test_a_service_that_was_started_is_judged_though_it_never_came_back() -> None:
    healed_otherwise = fault()
    assert doubts_of(healed_otherwise) == ("no proof", "not healed", "the other was not healed")
    started = replace(healed_otherwise, starts=True)
    assert doubts_of(started) == ("no proof", "the other was not healed")
    assert doubts_of(replace(started, cleared_ms=None)) == doubts_of(healed_otherwise)


def test_a_pause_before_the_recovery_may_be_as_long_as_the_rule_says() -> None:
    # Nothing recovered, so the stream must be watched to the end of the step.
    assert long_pause(fault(*every(1500, 10_000, 60_000))) == ""
    assert long_pause(fault(*every(1501, 10_000, 60_000))) == "nobody asked for 1.5 s"
    # The first long pause is named, the one at the very begin or end too.
    assert long_pause(fault(*every(1500, 12_000, 60_000))) == "nobody asked for 2 s"
    assert long_pause(fault(*every(1500, 10_000, 56_500))) == "nobody asked for 3.5 s"
    before, after = every(1500, 10_000, 20_500), every(1500, 24_500, 60_000)
    assert long_pause(fault(*before, *after)) == "nobody asked for 4 s"
    assert long_pause(fault()) == "nobody asked for 50 s"
    # What was asked before the clearing or after the end of the step fills no pause.
    assert long_pause(fault(9000.0, 9900.0, *every(1500, 12_000, 60_000), 61_000.0)) == "nobody asked for 2 s"


def test_a_slot_in_which_nothing_was_asked_fills_no_pause() -> None:
    asked = [at_ms for at_ms in every(1000, 10_000, 60_000) if at_ms != 30_000]
    assert long_pause(fault(*asked, unasked=(30_000.0,))) == "nobody asked for 2 s"


def test_after_the_recovery_the_calm_pause_counts_until_the_hold_ends() -> None:
    # The probe that showed it was sent at 12 s and answered 0.1 s later; it must hold until 42 s.
    watched = (*every(1000, 10_000, 12_000), 12_100.0)
    assert long_pause(fault(*watched, *every(2500, 14_500, 42_000), recovering=12_000.0)) == ""
    late = long_pause(fault(*watched, *every(2506, 14_606, 42_000), recovering=12_000.0))
    assert late == "nobody asked for 2.51 s"
    # The pause that began before the answer is one before the recovery.
    assert long_pause(fault(*every(1000, 10_000, 12_000), *every(1000, 14_000, 42_000), recovering=12_000.0))
    # No silence after the hold matters, and none after the end of the step.
    assert long_pause(fault(*watched, *every(2500, 14_500, 39_500), recovering=12_000.0)) == ""
    assert long_pause(fault(*watched, *every(2500, 14_500, 39_500), 50_000.0, recovering=12_000.0)) == ""
    short = fault(*watched, *every(2000, 14_000, 20_000), recovering=12_000.0, to_ms=22_000.0)
    assert long_pause(short) == ""
    assert long_pause(replace(short, span=replace(SPAN, to_ms=23_000.0))) == "nobody asked for 3 s"


@pytest.mark.parametrize(
    ("to_ms", "words"),
    [
        (42_000.0, ""),
        # As long as one pause may be, the end may be missing.
        (39_500.0, ""),
        (39_499.0, "it must hold for 30 s, and was watched for 27.5 s"),
        (32_055.0, "it must hold for 30 s, and was watched for 20.1 s"),
    ],
)
def test_a_recovery_must_be_watched_for_as_long_as_it_must_hold(to_ms: float, words: str) -> None:
    assert watched_too_short(fault(recovering=12_000.0, to_ms=to_ms)) == words
    assert watched_too_short(fault(to_ms=to_ms)) == ""
    assert watched_too_short(replace(fault(recovering=12_000.0, to_ms=to_ms), span=None)) == ""


def test_no_relapse_is_claimed_for_longer_than_it_was_watched() -> None:
    well = "stayed well for the {} s in which a relapse would count"
    assert stayed_well(fault(recovering=12_000.0)) == well.format("30")
    assert stayed_well(fault(recovering=12_000.0, to_ms=32_555.0)) == well.format("20.6")


def test_a_recovery_is_touched_by_what_the_journal_recorded_about_its_own_tables() -> None:
    event = Event(3, "run", 20_000.0, "", "sampler_died", {})

    def incident(streams: str | None, *, from_ms: float = 20_000.0, silent: bool = False) -> Incident:
        names = None if streams is None else frozenset({streams})
        return Incident(from_ms, from_ms + 10, names, "it died", None if silent else event)

    probes, recall = incident("probes"), incident("recall")
    others = [
        incident("requests"),
        incident("probes", from_ms=60_000.0),
        # Pauses are found in the observations themselves.
        incident("probes", silent=True),
        replace(incident("probes"), left_out=True),
    ]
    windows = Windows((), (), (), 0.0, 100_000.0, incidents=(*others, probes, recall))
    assert touching_recovery(windows, fault()) == [probes, recall]
    assert touching_recovery(windows, replace(fault(), span=None)) == []
