"""The checks of a recovery and of its bound over several trials, on hand-made fault windows."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lab.judge.checks import recovery, recovery_bound
from lab.judge.stats.observations import Observation
from lab.judge.stats.recovery_clock import Clock
from lab.judge.windows.fault_window import FaultWindow
from lab.judge.windows.incidents import Incident
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.judge.witnesses.limits import Limits
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import FAULT, STEADY, Plan, Step
from lab.model.samples import HostReading, Layer, Request, Rows, Samples
from lab.model.verdict import Bound, Finding, Interval, Verdict
from tests.pure.evidence_factory import Recipe, make
from tests.pure.window_factory import Watched, fault_window, observed

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
PLAN = make(Recipe(faults=("kill", "kill", "kill"), warm_up_s=5, baseline_s=10, clean_s=0, hold_s=5)).plan
KILL = PLAN.faults()[0]
SPAN = Window(KILL.id, FAULT, 1000.0, 90_000.0, KILL.id)
CLEARED_MS = 10_000.0
EVENT = Event(40, "run", 30_000.0, "", "sampler_died", {})


def recovered(lo_s: float, hi_s: float | None, to_ms: float = 90_000.0, **changes: Any) -> FaultWindow:
    """A fault that was cleared at 10 s, with probes four times a second that are bad until the recovery."""
    end_ms = math.inf if hi_s is None else CLEARED_MS + 1000 * hi_s
    given: dict[str, Any] = {
        "events": (Event(3, "run", 1000.0, "", "fault_injecting", {}),),
        "cleared_ms": CLEARED_MS,
        "stream": Watched(observed(1000.0, to_ms, 250.0, min(end_ms, 1e9))),
        "recovering": None if hi_s is None else Observation(end_ms - 10, end_ms, True),
        # From the injection it took nine seconds longer.
        "recovery": (
            Clock(lo_s, hi_s, hi_s is None),
            Clock(lo_s + 9, None if hi_s is None else hi_s + 9, hi_s is None),
        ),
    }
    return fault_window(KILL, replace(SPAN, to_ms=to_ms), **{**given, **changes})


def judged(
    check: Any,
    *faults: FaultWindow,
    incidents: tuple[Incident, ...] = (),
    samples: Samples | None = None,
    plan: Plan = PLAN,
) -> Finding:
    (finding,) = findings(check, faults, incidents, samples, plan)
    return finding


def findings(
    check: Any,
    faults: Sequence[FaultWindow],
    incidents: tuple[Incident, ...] = (),
    samples: Samples | None = None,
    plan: Plan = PLAN,
) -> list[Finding]:
    journal = Journal((Event(0, "run", 0.0, "", "run_started", {"host": {"cpus": 2}}),))
    windows = Windows((), (), tuple(faults), 0.0, 90_000.0, incidents=incidents)
    found: list[Finding] = check.findings(Evidence(plan, journal, samples or Samples()), windows)
    assert {finding.check for finding in found} <= {check.CHECK}
    return found


STAYED = "and stayed well for the 30 s in which a relapse would count"


def test_a_quick_recovery_passes_with_its_interval_and_its_figures() -> None:
    finding = judged(recovery, recovered(4.0, 4.5))
    assert (finding.subject, finding.verdict, finding.gate_verdict) == (KILL.id, PASS, PASS)
    assert (finding.observed, finding.unit, finding.ci) == (4.5, "s from the heal", Interval(4.0, 4.5))
    assert (finding.bound, finding.n) == (Bound("<", 30.0), 320)
    assert finding.evidence == ("journal:3", "samples:probes[10000..90000ms]")
    assert (
        finding.reason
        == f"recovered between 4 and 4.5 s after the heal {STAYED}; 18 of 320 canary probes bad"
    )


def test_the_limits_and_another_heal_are_told() -> None:
    limits = Limits(200.0, 0.9, {"list": 450.0})
    stream = replace(recovered(4.0, 4.5).stream, limits=limits)  # type: ignore[type-var]
    healed = Event(5, "run", 9_000.0, "", "fault_healed", {})
    finding = judged(recovery, recovered(4.0, 4.5, stream=stream, events=(healed,)))
    assert finding.reason == (
        f"recovered between 4 and 4.5 s after the heal {STAYED} (the last heal of its step, when nothing was in force"
        " any more); 18 of 320 canary probes bad (in time means within 200 ms or, as before the fault, list 450 ms)"
    )


@pytest.mark.parametrize(
    ("lo_s", "hi_s", "verdict"),
    [(29.0, 29.9, PASS), (29.0, 30.0, INCONCLUSIVE), (29.9, 30.1, INCONCLUSIVE), (30.0, 30.1, FAIL)],
)
def test_the_bound_is_thirty_seconds(lo_s: float, hi_s: float, verdict: Verdict) -> None:
    finding = judged(recovery, recovered(lo_s, hi_s))
    assert (finding.verdict, finding.gate_verdict) == (verdict, verdict)
    slower = replace(PLAN, bounds={"recovery_s": 31.0})
    assert judged(recovery, recovered(lo_s, hi_s), plan=slower).verdict is PASS


def test_what_never_recovers_fails_without_an_upper_end() -> None:
    finding = judged(recovery, recovered(79.5, None))
    assert (finding.verdict, finding.observed, finding.ci) == (FAIL, None, Interval(79.5, math.inf))
    assert finding.reason.startswith(
        "did not recover while watched: still bad 79.5 s after the heal; 320 of 320 canary probes bad"
        "; at the heal 0 calls waited"
    )


def test_a_recovery_of_a_third_of_the_bound_needs_no_explanation_and_a_longer_one_does() -> None:
    assert "at the heal" not in judged(recovery, recovered(9.5, 10.0)).reason
    assert "; at the heal 0 calls waited for an answer" in judged(recovery, recovered(9.5, 10.1)).reason


def test_a_doubt_or_too_few_observations_decide_nothing() -> None:
    doubted = judged(recovery, recovered(4.0, 4.5, doubts=("void: no root", "not read")))
    assert (doubted.verdict, doubted.reason) == (INCONCLUSIVE, "void: no root; not read")
    assert doubted.evidence == ("journal:3",)
    assert judged(recovery, recovered(4.0, 4.5, cleared_ms=None)).verdict is INCONCLUSIVE
    assert judged(recovery, fault_window(KILL, None, cleared_ms=CLEARED_MS)).verdict is INCONCLUSIVE
    few = recovered(4.0, 4.5, to_ms=14_000.0, recovery=None, recovering=None)
    finding = judged(recovery, few)
    assert (finding.verdict, finding.n) == (INCONCLUSIVE, 16)
    assert finding.reason == "16 canary probes after the heal; at least 20 are needed to show a recovery"
    assert finding.evidence == ("journal:3", "samples:probes[10000..14000ms]")


def test_a_pause_between_the_probes_leaves_every_verdict_open() -> None:
    def paused(fault: FaultWindow, from_ms: float) -> FaultWindow:
        seen = fault.stream.in_slo
        kept = seen.where((seen.sent_ms < from_ms) | (seen.sent_ms > from_ms + 3000))
        return replace(fault, stream=Watched(kept))

    for fault in (recovered(4.0, 4.5), recovered(40.0, 40.5)):
        finding = judged(recovery, paused(fault, 12_000.0))
        assert (finding.verdict, finding.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
        assert "; no canary probe was sent for 3.5 s" in finding.reason
        assert finding.reason.count("canary probe was sent") == 1
    assert judged(recovery, paused(recovered(40.0, 40.5), 2_000.0)).verdict is FAIL


def test_a_recovery_must_be_watched_for_as_long_as_it_must_hold_to_pass_and_not_to_fail() -> None:
    short = judged(recovery, recovered(4.0, 4.5, to_ms=34_000.0))
    assert (short.verdict, short.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert "; it must hold for 30 s, and was watched for 19.5 s" in short.reason
    assert judged(recovery, recovered(40.0, 40.5, to_ms=60_000.0)).verdict is FAIL


def lost(from_ms: float, to_ms: float, stream: str = "probes") -> Incident:
    return Incident(from_ms, to_ms, frozenset({stream}), "the canary died", EVENT)


def test_an_incident_takes_a_pass_and_a_failure_only_if_it_came_after_the_heal() -> None:
    early, late = lost(2_000, 9_000), lost(20_000, 21_000)
    for incident in (early, late):
        doubted = judged(recovery, recovered(4.0, 4.5), incidents=(incident,))
        assert (doubted.verdict, doubted.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert judged(recovery, recovered(40.0, 40.5), incidents=(early,)).verdict is FAIL
    doubted = judged(recovery, recovered(40.0, 40.5), incidents=(late,))
    assert (doubted.verdict, doubted.fail_touched) == (INCONCLUSIVE, True)
    assert judged(recovery, recovered(4.0, 4.5), incidents=(lost(20_000, 21_000, "recall"),)).verdict is PASS
    after = lost(90_000, 95_000)
    assert judged(recovery, recovered(40.0, 40.5), incidents=(after,)).verdict is FAIL


def host(others: float, until_ms: float = math.inf) -> Samples:
    """Two CPUs, of which others take a share until a time and then all, and somebody always waits for one."""
    ticks = [5000.0 * n for n in range(21)]
    rows = [HostReading(at, "host_cpu_idle_s", min(at, until_ms) * 2 * (1 - others) / 1000) for at in ticks]
    rows += [HostReading(at, "host_cpu_waiting_s", at / 1000) for at in ticks]
    return Samples(host=Rows([*rows, *(HostReading(at, "load_cpu_s", 0.0) for at in ticks)]))


def test_neighbours_excuse_a_late_recovery_and_are_told_of_every_verdict_but_a_pass() -> None:
    """Others that take 20 % may have cost 40 % of the time: 40 s may have been 24."""
    quiet = judged(recovery, recovered(40.0, 40.5), samples=host(0.0))
    assert (quiet.verdict, quiet.gate_verdict) == (FAIL, FAIL)
    assert quiet.reason.endswith("; all else on this machine took 0% of its CPU meanwhile")
    beside = judged(recovery, recovered(40.0, 40.5), samples=host(0.2))
    assert (beside.verdict, beside.gate_verdict, beside.fail_touched) == (INCONCLUSIVE, INCONCLUSIVE, True)
    assert "; the machine was starved: all else took 20% of its CPU, and" in beside.reason
    assert judged(recovery, recovered(70.0, 70.5), samples=host(0.2)).verdict is FAIL
    assert "all else" not in judged(recovery, recovered(4.0, 4.5), samples=host(0.2)).reason


def test_the_share_that_others_took_is_that_until_the_target_was_last_bad() -> None:
    """It was last bad 39.99 s after the heal, and the next reading, one second later, shows more."""
    finding = judged(recovery, recovered(39.99, 40.5), samples=host(0.2, until_ms=45_000.0))
    assert "the machine was starved: all else took 20% of its CPU, and" in finding.reason


def trials(*times: tuple[float, float | None], **changes: Any) -> list[FaultWindow]:
    """Three kills, each a trial of its own; the changes are those of the second."""
    windows = [recovered(*time) for time in times]
    windows[1] = recovered(*times[1], **changes)
    found: list[FaultWindow] = []
    for planned, window in zip(PLAN.faults(), windows, strict=True):
        assert window.span is not None
        events = tuple(replace(event, seq=event.seq + len(found)) for event in window.events)
        found.append(replace(window, planned=planned, events=events))
    return found


QUICK = ((3.0, 4.0), (3.0, 5.0), (3.5, 6.0))


def test_three_recoveries_bound_the_others_by_the_tabulated_factor() -> None:
    finding = judged(recovery_bound, *trials(*QUICK))
    logs = [math.log(s) for s in (4.0, 5.0, 6.0)]
    mean = sum(logs) / 3
    sd = math.sqrt(sum((log - mean) ** 2 for log in logs) / 2)
    assert finding.observed == pytest.approx(math.exp(mean + 6.155 * sd), rel=1e-3)
    assert (finding.subject, finding.verdict, finding.gate_verdict, finding.n) == (
        "kill on qdrant",
        PASS,
        PASS,
        3,
    )
    assert finding.observed is not None
    assert (finding.unit, finding.ci) == ("s from the heal", Interval(4.0, finding.observed))
    assert finding.bound == Bound("<", 30.0)
    assert finding.evidence == ("journal:3", "journal:4", "journal:5")
    assert finding.reason == (
        "90 % of recoveries take less than this, at 95 % confidence; 3 trials: 4, 5, 6 s"
    )
    tight = replace(PLAN, bounds={"recovery_s": finding.observed})
    assert judged(recovery_bound, *trials(*QUICK), plan=tight).verdict is INCONCLUSIVE


def test_a_trial_that_never_recovered_leaves_the_bound_open_and_is_no_failure() -> None:
    finding = judged(recovery_bound, *trials((3.0, 4.0), (79.5, None), (3.0, 6.0)))
    assert (finding.verdict, finding.gate_verdict, finding.observed) == (INCONCLUSIVE, INCONCLUSIVE, None)
    assert finding.ci == Interval(4.0, math.inf)
    assert finding.reason.endswith("3 trials: 4, never, 6 s")


@pytest.mark.parametrize(
    "change",
    [
        {"recovery": None},
        {"doubts": ("void",)},
        {"to_ms": 34_000.0},
        {"stream": Watched(observed(30_000.0, 90_000.0, 250.0))},
    ],
)
def test_a_trial_that_decides_nothing_alone_leaves_the_bound_open(change: dict[str, Any]) -> None:
    finding = judged(recovery_bound, *trials(*QUICK, **change))
    assert (finding.verdict, finding.gate_verdict, finding.n) == (INCONCLUSIVE, INCONCLUSIVE, 2)
    flaws = "void, not proven healed, touched by an incident, or not watched to the end"
    assert finding.reason == f"1 of 3 trials were {flaws}"
    assert finding.evidence == ("journal:3", "journal:4", "journal:5")


def test_an_incident_takes_every_trial_that_it_touched() -> None:
    finding = judged(recovery_bound, *trials(*QUICK), incidents=(lost(20_000, 21_000),))
    assert finding.reason.startswith("3 of 3 trials were")


def test_two_trials_bound_nothing_and_faults_in_force_together_are_one_trial() -> None:
    fewer = replace(PLAN, steps=PLAN.steps[:-1])
    assert findings(recovery_bound, trials(*QUICK)[:2], plan=fewer) == []
    pairs = []
    for n, fault in enumerate(PLAN.faults()):
        both = (fault, replace(fault, id=f"with-{n}", kind="latency"))
        pairs.append(Step(fault.id, FAULT, 60, both, PLAN.steps[1].load))
    plan = replace(PLAN, steps=(*PLAN.steps[:2], *pairs))
    windows = [*trials(*QUICK)]
    windows += [replace(w, planned=s.faults[1]) for w, s in zip(windows, pairs, strict=True)]
    finding = judged(recovery_bound, *windows, plan=plan)
    assert (finding.subject, finding.verdict, finding.n) == ("kill on qdrant with latency on qdrant", PASS, 3)
    # A companion whose heal is in doubt takes the trial with it.
    windows[-1] = replace(windows[-1], heal_doubts=("never confirmed",))
    assert judged(recovery_bound, *windows, plan=plan).n == 2
    assert [step.kind for step in plan.steps[:2]] == ["warm_up", STEADY]


def test_times_are_floored_and_one_infinite_time_leaves_no_bound() -> None:
    assert recovery_bound.tolerance_bound_s([0.05, 0.05, 0.05]) == pytest.approx(0.1)
    assert recovery_bound.tolerance_bound_s([1.0, math.inf, 1.0]) == math.inf


def test_a_backlog_is_that_of_the_run() -> None:
    waiting = Request(9000.0, 9000.0, 25_000.0, "search", True, Layer.OK, "", "0000")
    finding = judged(recovery, recovered(20.0, 20.5), samples=Samples(requests=Rows([waiting])))
    assert "at the heal 1 calls waited for an answer (1 of the load, 0 of the lab)" in finding.reason
