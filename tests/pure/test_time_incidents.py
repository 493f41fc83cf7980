"""A stall of the lab, a suspended machine, a small step of the wall clock and an error within one fault's step."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce
from typing import Any

import pytest

from lab.judge import judge
from lab.judge.windows.timeline import find_windows
from lab.model.evidence import Evidence
from lab.model.samples import Request
from lab.model.verdict import Judgement
from tests.pure.evidence_factory import Recipe, make, resampled
from tests.pure.test_incidents import (
    BASELINE_MS,
    FAIL,
    INCONCLUSIVE,
    PASS,
    failing,
    found,
    healthy,
    long,
    undecided,
    within,
)
from tests.pure.test_judge_outside import told
from tests.pure.test_witnesses import ALL

Hurt = Callable[[Evidence, float], Evidence]


def stalled(evidence: Evidence, at_ms: float, ms: float = 1500.0) -> Evidence:
    return told(evidence, at_ms, "lab_stalled", from_ms=at_ms - ms, to_ms=at_ms)


def suspended(evidence: Evidence, at_ms: float) -> Evidence:
    return told(evidence, at_ms, "machine_suspended", by_ms=600_000.0, from_ms=at_ms - 20)


def stepped(evidence: Evidence, at_ms: float, by_ms: float = 400.0) -> Evidence:
    return told(evidence, at_ms, "clock_stepped", by_ms=by_ms, from_ms=at_ms - 20)


def error(evidence: Evidence, at_ms: float, **data: Any) -> Evidence:
    return told(evidence, at_ms, "lab_error", where="observe during", error="KeyError", **data)


def gaps(evidence: Evidence) -> list[str]:
    rows: Any = judge(evidence).tables["gaps"]
    return [row["why"] for row in rows]


def others_undecided(judgement: Judgement) -> set[tuple[str, str]]:
    """What is undecided beside the fault f2-kill."""
    return {(c, subject) for c, subject in undecided(judgement) if subject not in ("f2-kill", "kill")}


@pytest.mark.parametrize(("hurt", "why"), [(stalled, "stood still for 1.5 s"), (suspended, "was suspended")])
def test_it_makes_undecided_the_windows_that_it_overlaps_and_no_others(hurt: Hurt, why: str) -> None:
    judgement = judge(hurt(healthy(), within(healthy(), "f2-kill")))
    assert undecided(judgement) >= {(c, "f2-kill") for c in ("recovery", "in_force", "load_arrived")}
    assert not others_undecided(judgement)
    assert judgement.gate is INCONCLUSIVE
    assert why in found(judgement, "recovery", "f2-kill").reason
    assert why in found(judgement, "integrity", "run").reason


@pytest.mark.parametrize(("hurt", "why"), [(stalled, "stood still"), (suspended, "was suspended")])
def test_in_a_long_run_it_is_left_out_and_not_forgotten(hurt: Hurt, why: str) -> None:
    evidence = hurt(long(), BASELINE_MS + 10_000)
    judgement = judge(evidence)
    assert judgement.gate is PASS
    assert why in found(judgement, "latency", "steady").reason
    assert found(judgement, "latency", "steady").n < found(judge(long()), "latency", "steady").n
    assert [told for told in gaps(evidence) if why in told]


@pytest.mark.parametrize("hurt", [stalled, suspended])
def test_it_hides_no_failure_that_is_outside_of_it(hurt: Hurt) -> None:
    broken = failing(long(), 0, float("inf"), every=5)
    assert found(judge(hurt(broken, BASELINE_MS + 10_000)), "errors", "steady").verdict is FAIL


def test_a_failure_that_lies_within_a_stall_is_none_of_the_targets() -> None:
    at_ms = BASELINE_MS + 30_000
    broken = failing(long(), at_ms - 25_000, at_ms)
    assert found(judge(broken), "errors", "steady").gate_verdict is not PASS
    finding = found(judge(stalled(broken, at_ms, ms=25_000.0)), "errors", "steady")
    assert finding.verdict is INCONCLUSIVE


def times(evidence: Evidence) -> Iterator[float]:
    end_ms, at_ms = evidence.journal.events[-1].at_ms, 15_000.0
    while at_ms < end_ms - 1000:
        yield at_ms
        at_ms += 30_000.0


def as_on_wsl2(evidence: Evidence) -> Evidence:
    """The run on a machine whose wall clock steps by 0.4 s every half minute."""
    return reduce(stepped, times(evidence), evidence)


def test_a_clock_that_steps_all_the_time_makes_no_run_worthless() -> None:
    judgement, before = judge(as_on_wsl2(long())), judge(long())
    assert judgement.gate is PASS
    assert not undecided(judgement)
    kept = found(judgement, "latency", "steady").n / found(before, "latency", "steady").n
    assert 0.4 < kept < 0.9
    assert "the wall clock stepped by 400.0 ms" in found(judgement, "latency", "steady").reason
    assert len([why for why in gaps(as_on_wsl2(long())) if "stepped" in why]) >= len(list(times(long())))


def test_a_clock_that_steps_all_the_time_hides_no_failure() -> None:
    broken = as_on_wsl2(failing(long(), 0, float("inf"), every=5))
    assert found(judge(broken), "errors", "steady").verdict is FAIL


def test_faults_are_decided_where_the_clock_steps_by_little() -> None:
    for fault in ("f1-latency", "f2-kill", "f3-cpu_cap"):
        judgement = judge(stepped(healthy(), within(healthy(), fault)))
        assert {f.verdict for f in judgement.findings if f.subject == fault} == {PASS}
    # The controls: a larger step, and one of which nobody knows how early it may have been.
    for hurt in (
        stepped(healthy(), within(healthy(), "f2-kill"), 1001.0),
        told(healthy(), within(healthy(), "f2-kill"), "clock_stepped", by_ms=400.0),
    ):
        assert ("recovery", "f2-kill") in undecided(judge(hurt))


def test_a_small_step_touches_what_was_under_way_and_the_chunk_that_waited_for_its_begin() -> None:
    started = [e for e in long().journal if e.kind == "load_chunk_started"][3]
    begins_ms = float(started.data["scheduled_start_ms"])
    for at_ms, spans in (
        (begins_ms - 3000, [(at := begins_ms - 3000, at), (begins_ms, begins_ms + 60_000)]),
        (begins_ms + 3000, [(at := begins_ms + 3000, at)]),
    ):
        incidents = [i for i in find_windows(stepped(long(), at_ms)).incidents if i.event is not None]
        assert [i.streams for i in incidents] == [frozenset({"requests"})] * len(spans)
        assert (incidents[0].from_ms, incidents[0].to_ms) == (at_ms - 20 - 400 - 5000, at_ms + 400)
        assert [(i.from_ms, i.to_ms) for i in incidents[1:]] == spans[1:]


def test_an_error_within_the_work_on_one_fault_concerns_that_fault() -> None:
    evidence = error(healthy(), within(healthy(), "f2-kill"), fault="f2-kill")
    judgement = judge(evidence)
    assert ("in_force", "f2-kill") in undecided(judgement)
    assert ("recovery", "f2-kill") in undecided(judgement)
    assert not others_undecided(judgement)
    assert judgement.gate is INCONCLUSIVE
    assert "KeyError in observe during" in found(judgement, "integrity", "run").reason
    assert [why for why in gaps(evidence) if "KeyError in observe during" in why]


def test_an_error_long_after_its_fault_touches_all_that_lies_between() -> None:
    """A heal that is tried again later: nobody knows what was still in force until then."""
    judgement = judge(error(healthy(), within(healthy(), "f3-cpu_cap"), fault="f1-latency"))
    touched = {"f1-latency", "f2-kill", "f3-cpu_cap"}
    assert {("in_force", fault) for fault in touched} <= undecided(judgement)


@pytest.mark.parametrize("data", [{}, {"fault": "f9-unknown"}, {"fault": None}])
def test_an_error_of_no_known_fault_concerns_all_of_the_run(data: dict[str, Any]) -> None:
    judgement = judge(error(long(), BASELINE_MS, **data))
    assert found(judgement, "integrity", "run").verdict is INCONCLUSIVE
    assert "KeyError in observe during" in found(judgement, "integrity", "run").reason


def test_an_error_of_a_fault_whose_step_never_began_concerns_all_of_the_run() -> None:
    evidence = error(healthy(), BASELINE_MS, fault="f2-kill")
    events = tuple(e for e in evidence.journal if e.data.get("step") != "f2-kill")
    cut = replace(evidence, journal=replace(evidence.journal, events=events))
    assert "KeyError in observe during" in found(judge(cut), "integrity", "run").reason


def by_all(recovers_s: float = 6.0) -> Evidence:
    """A run whose recoveries are told by the load and the truth queries beside the canary."""
    return make(Recipe(witnesses=ALL, faults=("latency",), recovers_s={"f1-latency": recovers_s}))


def stepped_around_the_recovery(evidence: Evidence, by_ms: float = -400.0) -> Evidence:
    healed = evidence.journal.last("fault_healed", fault="f1-latency")
    assert healed is not None
    # In the middle of a chunk: one that waits for its begin would be displaced by the step.
    starts = [e.data["scheduled_start_ms"] for e in evidence.journal if e.kind == "load_chunk_started"]
    free = [healed.at_ms + s * 1000 for s in range(8, 20)]
    at_ms = next(at for at in free if not any(0 <= start - at + 500 <= 7000 for start in starts))
    return stepped(evidence, at_ms, by_ms)


def test_a_small_step_leaves_a_recovery_decided_that_the_load_tells() -> None:
    evidence = by_all()
    before, after = (
        found(judge(run), "recovery", "f1-latency")
        for run in (evidence, stepped_around_the_recovery(evidence))
    )
    assert before.verdict is after.verdict is PASS
    assert before.ci == after.ci and after.n < before.n, "the requests around the step are left out"
    large = stepped_around_the_recovery(evidence, 1001.0)
    assert found(judge(large), "recovery", "f1-latency").verdict is INCONCLUSIVE


def test_a_late_recovery_fails_with_a_small_step_after_the_heal() -> None:
    evidence = by_all(45.0)
    for run in (evidence, stepped_around_the_recovery(evidence)):
        assert found(judge(run), "recovery", "f1-latency").verdict is FAIL


def test_what_a_step_made_late_is_no_relapse() -> None:
    """Requests whose times the step falsified look late; they are no evidence against the target."""
    evidence = stepped_around_the_recovery(by_all(), -1000.0)
    (step,) = [event for event in evidence.journal if event.kind == "clock_stepped"]

    def late(request: Request) -> Request:
        near = request.done_ms is not None and step.at_ms - 1000 <= request.done_ms <= step.at_ms
        return replace(request, done_ms=step.at_ms + 1000) if near else request

    falsified = resampled(evidence, requests=[late(r) for r in evidence.samples.requests])
    assert list(falsified.samples.requests) != list(evidence.samples.requests)
    finding = found(judge(falsified), "recovery", "f1-latency")
    assert (finding.verdict, finding.ci) == (PASS, found(judge(evidence), "recovery", "f1-latency").ci)
