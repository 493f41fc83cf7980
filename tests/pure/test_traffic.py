"""The target's own connections: the check `traffic`, and their part in the proof of a fault."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from lab.judge import judge
from lab.judge.stats.own_traffic import crossing
from lab.judge.windows.timeline import find_windows
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.plan import USUAL_STREAMS
from lab.model.samples import OTHER, PAST, STORE, Traffic
from lab.model.verdict import Finding, Verdict
from tests.pure.evidence_factory import Recipe, edited, make, resampled

PASS, INCONCLUSIVE, FAIL = Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL
STORE_ADDRESS = "172.30.0.2:6333"


def found(run: Evidence, check: str, subject: str) -> Finding:
    return next(f for f in judge(run).findings if (f.check, f.subject) == (check, subject))


def rerouted(run: Evidence, change: Callable[[Traffic], Traffic | None]) -> Evidence:
    """The run with each row of the store's route changed, or left out."""
    rows = (change(row) if row.route == STORE else row for row in run.samples.traffic)
    return resampled(run, traffic=[row for row in rows if row is not None])


def silent(row: Traffic) -> Traffic:
    return replace(row, established=0, opened=0, ended=0, sent_bytes=0, received_bytes=0)


def bypassing(run: Evidence) -> Evidence:
    """A target whose connections go to the store itself: nothing crosses the proxy."""
    rows = list(run.samples.traffic)
    moved = [replace(row, route=PAST, peer=STORE_ADDRESS) for row in rows if row.route == STORE]
    return resampled(run, traffic=[*(silent(row) if row.route == STORE else row for row in rows), *moved])


def test_a_target_whose_bytes_cross_the_proxy_passes() -> None:
    finding = found(make(), "traffic", "steady")
    assert finding.verdict is PASS and finding.n > 100 and finding.evidence
    assert judge(make()).gate is PASS


def test_a_target_that_goes_past_the_proxy_is_neither_passed_nor_failed() -> None:
    run = bypassing(make(Recipe(faults=("latency", "partition", "kill"))))
    finding = found(run, "traffic", "steady")
    assert (
        finding.verdict is INCONCLUSIVE
        and STORE_ADDRESS in finding.reason
        and "target.yaml" in finding.reason
    )
    for fault in ("f1-latency", "f2-partition"):
        for check in ("in_force", "recovery"):
            voided = found(run, check, fault)
            assert voided.verdict is INCONCLUSIVE and STORE_ADDRESS in voided.reason
    # A fault that no link carries is proven all the same.
    assert found(run, "in_force", "f3-kill").verdict is PASS
    judged = judge(run)
    assert judged.gate is INCONCLUSIVE
    assert not [f for f in judged.findings if f.verdict is FAIL]


def test_one_connection_past_the_proxy_is_enough_whatever_crosses_it() -> None:
    run = make()
    past = Traffic(60_000.0, PAST, "[fd00::2]:6334", 1, 0, 0, 0, 0)
    finding = found(resampled(run, traffic=[*run.samples.traffic, past]), "traffic", "steady")
    assert finding.verdict is INCONCLUSIVE and "[fd00::2]:6334" in finding.reason


def test_bytes_that_are_too_few_for_the_load_prove_nothing() -> None:
    def hardly(row: Traffic) -> Traffic:
        return replace(row, sent_bytes=row.sent_bytes // 1000, received_bytes=row.received_bytes // 1000)

    other = Traffic(60_000.0, OTHER, "10.9.8.7:6333", 1, 1, 0, 10**6, 10**6)
    run = rerouted(make(), hardly)
    finding = found(resampled(run, traffic=[*run.samples.traffic, other]), "traffic", "steady")
    assert finding.verdict is INCONCLUSIVE and "10.9.8.7:6333" in finding.reason


def test_without_readings_nothing_is_decided() -> None:
    run = make()
    few = resampled(run, traffic=list(run.samples.traffic)[:2])
    assert found(few, "traffic", "steady").verdict is INCONCLUSIVE
    assert found(few, "in_force", "f1-latency").verdict is INCONCLUSIVE
    assert "not read" in found(few, "in_force", "f1-latency").reason


def test_a_run_from_before_is_judged_as_before() -> None:
    run = resampled(make(), traffic=())
    older = replace(run, plan=replace(run.plan, streams=USUAL_STREAMS))
    assert not [f for f in judge(older).findings if f.check == "traffic"]
    assert judge(older).gate is PASS


def test_a_link_over_which_nothing_of_the_target_went_does_not_prove_its_fault() -> None:
    run = rerouted(make(Recipe(faults=("latency", "link_down"))), silent)
    assert "while it was in force" in found(run, "in_force", "f1-latency").reason
    assert "before it" in found(run, "in_force", "f2-link_down").reason
    assert found(run, "recovery", "f1-latency").verdict is INCONCLUSIVE


@pytest.mark.parametrize("kind", ["partition", "link_down"])
def test_a_cut_that_the_targets_own_connections_do_not_feel_is_void(kind: str) -> None:
    run = make(Recipe(faults=(kind,)))
    proven = found(run, "in_force", f"f1-{kind}")
    assert proven.verdict is PASS and "bytes/s before and 0 in force" in proven.reason
    assert any(place.startswith("samples:traffic[") for place in proven.evidence)

    def flowing(row: Traffic) -> Traffic:
        return replace(row, received_bytes=int(9 * row.at_ms))

    finding = found(rerouted(run, flowing), "in_force", f"f1-{kind}")
    assert finding.verdict is INCONCLUSIVE and "went on" in finding.reason


def test_attempts_alone_show_that_a_slow_link_was_used() -> None:
    """Where a delay is longer than the hold, the target sends and nothing comes back."""
    run = make(Recipe(faults=("latency",)))
    window = find_windows(run).faults[0]
    assert window.span is not None
    begins, ends = window.span.from_ms, window.span.to_ms

    def stuck(row: Traffic) -> Traffic:
        inside = begins <= row.at_ms < ends
        return replace(silent(row), unanswered=3, established=2) if inside else row

    assert found(rerouted(run, stuck), "in_force", "f1-latency").verdict is PASS


def test_a_fault_beside_others_is_not_asked_what_crossed() -> None:
    """Its companion may stop the target, or the store; a way around the proxy is found all the same."""
    run = make(Recipe(faults=("latency",)))
    (step,) = [step for step in run.plan.steps if step.faults]
    both = replace(step, faults=(step.faults[0], replace(step.faults[0], id="f1b-kill", kind="kill")))
    steps = tuple(both if one is step else one for one in run.plan.steps)
    together = rerouted(replace(run, plan=replace(run.plan, steps=steps)), silent)
    assert "own" not in found(together, "in_force", "f1-latency").reason


def test_a_fault_that_states_no_effect_on_connections_is_not_asked_for_one() -> None:
    def unstated(event: Event) -> Event:
        return replace(event, data={key: value for key, value in event.data.items() if key != "own_traffic"})

    run = edited(rerouted(make(Recipe(faults=("latency",))), silent), unstated)
    assert found(run, "in_force", "f1-latency").verdict is PASS


def test_what_the_first_reading_does_not_tell_of_began_at_zero() -> None:
    rows = [Traffic(0.0, STORE, "a", 1, 1, 0, 100, 100), Traffic(1000.0, STORE, "a", 1, 1, 0, 150, 300)]
    later = Traffic(1000.0, STORE, "b", 1, 1, 0, 7, 0)
    crossed = crossing([*rows, later], (STORE,))
    assert (crossed.readings, crossed.sent_bytes, crossed.received_bytes) == (2, 57, 200)
    assert crossed.received_per_s == 200 and crossed.opened == 1
    assert not crossing((), (STORE,)).any
