"""What nobody saw is never a pass, and what nobody knows never a failure."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lab.judge import judge
from lab.judge.stats.intervals import percentile_interval, share_interval
from lab.judge.stats.observations import Observation, Observations
from lab.judge.stats.recovery_clock import clocks, first_harm
from lab.judge.windows.host_cpu import share_of_others
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import PlannedFault
from lab.model.recovery import CANARY
from lab.model.samples import HostReading
from lab.model.verdict import Finding, Verdict
from tests.pure.evidence_factory import Recipe, edited, make, resampled

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def found(evidence: Evidence, check: str, subject: str) -> Finding | None:
    """What the judge says of one check of one subject, if anything."""
    return next((f for f in judge(evidence).findings if (f.check, f.subject) == (check, subject)), None)


def verdict(evidence: Evidence, check: str, subject: str) -> Verdict:
    finding = found(evidence, check, subject)
    assert finding is not None
    return finding.verdict


def accompanied(evidence: Evidence, kind: str, **after: Any) -> Evidence:
    """The same run with a second fault in every fault step, whose looks after its heal say `after`."""

    def companion(fault: PlannedFault) -> PlannedFault:
        return replace(fault, id=fault.id.replace("-", "b-", 1), kind=kind)

    names = {fault.id: companion(fault).id for fault in evidence.plan.faults()}

    def told(event: Event) -> Iterator[Event]:
        yield event
        if (name := names.get(str(event.data.get("fault")))) is None:
            return
        data = {**event.data, "fault": name}
        if event.kind == "fault_injecting":
            data |= {"fault_kind": kind, "undo": {"type": "RemoveToxic"}}
        if event.data.get("moment") == "after":
            data |= after
        yield replace(event, data=data, at_ms=event.at_ms + 1)

    steps = tuple(
        replace(step, faults=(step.faults[0], companion(step.faults[0]))) if step.faults else step
        for step in evidence.plan.steps
    )
    events = sorted((one for event in evidence.journal for one in told(event)), key=lambda e: e.at_ms)
    numbered = tuple(replace(event, seq=seq) for seq, event in enumerate(events))
    together = replace(evidence, plan=replace(evidence.plan, steps=steps), journal=Journal(numbered))
    return edited(together, lambda event: event)


def test_without_a_look_at_its_end_a_fault_is_not_known_to_have_held() -> None:
    def unlooked(event: Event) -> Event | None:
        return None if event.data.get("moment") == "still" else event

    evidence = edited(make(), unlooked)
    assert verdict(evidence, "in_force", "f1-latency") is INCONCLUSIVE
    assert verdict(evidence, "recovery", "f1-latency") is INCONCLUSIVE


def test_a_target_is_not_blamed_for_a_fault_of_ours_that_stays_in_force_with_a_kill() -> None:
    late = make(Recipe(faults=("kill",), recovers_s={"f1-kill": 40.0}))
    assert verdict(accompanied(late, "latency"), "recovery", "f1-kill") is FAIL
    stays = accompanied(late, "latency", absent=False, holds=True, measured=300.0)
    assert verdict(stays, "recovery", "f1-kill") is INCONCLUSIVE


def test_faults_in_force_together_are_one_trial() -> None:
    subject = "latency on qdrant with latency on qdrant"
    assert (
        found(accompanied(make(Recipe(faults=("latency",) * 2)), "latency"), "recovery_bound", subject)
        is None
    )
    thrice = found(accompanied(make(Recipe(faults=("latency",) * 3)), "latency"), "recovery_bound", subject)
    assert thrice is not None
    assert (thrice.verdict, thrice.n) == (PASS, 3)


def test_a_trial_with_an_unproven_companion_is_none() -> None:
    evidence = accompanied(make(Recipe(faults=("latency",) * 3)), "cpu_cap")

    def unproven(event: Event) -> Event:
        hit = event.data.get("moment") == "during" and event.data["fault"] == "f2b-latency"
        return replace(event, data={**event.data, "holds": False}) if hit else event

    subject = "latency on qdrant with cpu_cap on qdrant"
    assert verdict(evidence, "recovery_bound", subject) is PASS
    assert verdict(edited(evidence, unproven), "recovery_bound", subject) is INCONCLUSIVE


def test_other_parameters_are_another_trial() -> None:
    evidence = make(Recipe(faults=("latency",) * 4))

    def other(fault: PlannedFault) -> PlannedFault:
        return replace(fault, params={"latency_ms": 900}) if fault.id == "f4-latency" else fault

    steps = tuple(replace(step, faults=tuple(map(other, step.faults))) for step in evidence.plan.steps)
    pooled = found(evidence, "recovery_bound", "latency on qdrant")
    assert pooled is not None and pooled.n == 4
    told_apart = found(
        replace(evidence, plan=replace(evidence.plan, steps=steps)), "recovery_bound", "latency on qdrant {}"
    )
    assert told_apart is not None and told_apart.n == 3


@pytest.mark.parametrize("slow_hz", [2.0, 0.5, 0.2, 0.086])
def test_a_hold_that_was_not_watched_is_no_pass_however_slow_the_canary_was_meant_to_be(
    slow_hz: float,
) -> None:
    evidence = make()
    ended_ms = next(
        e.at_ms for e in evidence.journal if e.data.get("step") == "f1-latency" and e.kind == "phase_ended"
    )
    observer = replace(evidence.plan.observer, canary_slow_hz=slow_hz)
    slow = replace(evidence, plan=replace(evidence.plan, observer=observer))
    assert verdict(slow, "recovery", "f1-latency") is PASS
    blind = [
        p
        for p in slow.samples.probes
        if p.probe != "list" or not ended_ms - 20_000 <= p.sent_ms < ended_ms - 5_000
    ]
    assert verdict(resampled(slow, probes=blind), "recovery", "f1-latency") is INCONCLUSIVE


def every_100_ms(from_ms: float, to_ms: float) -> list[Observation]:
    return [Observation(float(at), at + 15.0, good=True) for at in np.arange(from_ms, to_ms, 100)]


def test_never_away_is_not_said_where_nobody_looked() -> None:
    seen = [*every_100_ms(0, 5_000), *every_100_ms(20_000, 60_000)]
    away = clocks(Observations.of(seen), 0.0, 20_000.0, CANARY)
    assert away is not None
    assert away[1].lo_s == 0.0 and away[1].hi_s == pytest.approx(20.015)
    unasked = [one._replace(asked=not 5_000 <= one.sent_ms < 20_000) for one in every_100_ms(0, 60_000)]
    assert clocks(Observations.of(unasked), 0.0, 20_000.0, CANARY) == away
    always = clocks(Observations.of(every_100_ms(0, 60_000)), 0.0, 20_000.0, CANARY)
    assert always is not None
    assert (always[1].lo_s, always[1].hi_s) == (0.0, 0.0)


def test_not_noticed_reaches_no_further_than_somebody_looked() -> None:
    looked = first_harm(Observations.of([*every_100_ms(0, 5_000), *every_100_ms(20_000, 60_000)]), 0.0)
    assert looked is not None
    assert looked.lo_s == pytest.approx(4.9) and looked.censored


def test_what_passes_by_itself_is_not_well_again_while_its_call_lasts() -> None:
    """A restart with a long grace: the service answers until it is killed at the end of it, and is away for 12.5 s."""
    away = [one._replace(good=not 30_000 <= one.sent_ms < 42_500) for one in every_100_ms(0, 90_000)]
    timed = clocks(Observations.of(away), 0.0, 30_100.0, CANARY, cleared_from_ms=0.0)
    assert timed is not None
    assert (timed[0].lo_s, timed[0].hi_s) == pytest.approx((12.3, 42.515))
    assert timed[0].hi_s is not None
    assert timed[0].lo_s <= 12.5 - 0.1 <= timed[0].hi_s


def test_requests_of_which_nothing_is_known_never_decide_a_failure() -> None:
    bad = np.zeros(1000, dtype=np.bool_)
    bad[::56] = True
    assert share_interval(bad, bad).lo > 0.01
    unknown = share_interval(bad, bad, missing=100)
    assert unknown.lo < 0.01 < unknown.hi
    took = np.where(np.arange(1000) % 14 == 0, 900.0, 20.0)
    assert percentile_interval(took, took, 0.95).lo == 900.0
    assert percentile_interval(took, took, 0.95, missing=400).lo == 20.0


@pytest.mark.parametrize(("idles", "others"), [(1.5, 0.0), (0.5, 0.5), (0.0, 0.75)])
def test_a_late_recovery_says_what_else_kept_the_machine_busy(idles: float, others: float) -> None:
    """Two CPUs, of which the target takes half of one."""
    late = make(Recipe(faults=("kill",), recovers_s={"f1-kill": 40.0}))
    ticks = np.arange(1000.0, late.journal.events[-1].at_ms, 5000)
    read = [HostReading(at, "host_cpu_idle_s", 900 + idles * at / 1000) for at in ticks]
    read += [HostReading(at, "mcp_cpu_s", 0.5 * (at - 1000) / 1000) for at in ticks]
    evidence = resampled(late, host=read)
    finding = found(evidence, "recovery", "f1-kill")
    assert finding is not None and finding.verdict is FAIL
    assert f"all else on this machine took {others:.0%} of its CPU" in finding.reason
    assert share_of_others(resampled(late, host=read[:1]), 0, 1e9) is None
    assert share_of_others(evidence, 0, 1e9) == pytest.approx(others, abs=0.01)
    quick = found(resampled(make(Recipe(faults=("kill",))), host=read), "recovery", "f1-kill")
    assert quick is not None and "all else" not in quick.reason
