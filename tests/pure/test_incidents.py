"""An incident leaves undecided what it touches and nothing else; nothing passes by it, and none is forgotten."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.judge import judge
from lab.judge.windows.incidents import Incident
from lab.judge.windows.timeline import find_windows
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.plan import Decision
from lab.model.samples import Layer, Request
from lab.model.verdict import Finding, Judgement, Verdict
from tests.pure.evidence_factory import Recipe, edited, make, resampled
from tests.pure.test_judge_outside import told

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
NOT_TESTED = Verdict.NOT_TESTED
LONG = Recipe(baseline_s=1500.0, faults=("latency",), clean_s=0)
BASELINE_MS = 61_000.0


@cache
def healthy() -> Evidence:
    return make()


@cache
def long() -> Evidence:
    return make(LONG)


def found(judgement: Judgement, check: str, subject: str) -> Finding:
    return next(f for f in judgement.findings if (f.check, f.subject) == (check, subject))


def undecided(judgement: Judgement) -> set[tuple[str, str]]:
    return {(f.check, f.subject) for f in judgement.findings if f.verdict is INCONCLUSIVE}


def within(evidence: Evidence, fault: str) -> float:
    """A time in the middle of a fault's hold."""
    event = evidence.journal.last("fault_healing", fault=fault)
    assert event is not None
    return event.at_ms - 10_000


def step(evidence: Evidence, at_ms: float, by_ms: float = 70.0) -> Evidence:
    return told(evidence, at_ms, "clock_stepped", by_ms=by_ms)


def death(evidence: Evidence, at_ms: float, sampler: str, why: str = "OSError: gone") -> Evidence:
    return told(evidence, at_ms, "sampler_died", sampler=sampler, why=why)


def failing(evidence: Evidence, from_ms: float, to_ms: float, every: int = 1) -> Evidence:
    """The same run in which the target refused requests between two times."""

    def refused(n: int, r: Request) -> Request:
        if n % every or not from_ms <= r.scheduled_ms < to_ms:
            return r
        return replace(r, ok=False, layer=Layer.TRANSPORT, message="connection refused")

    rows = [refused(n, request) for n, request in enumerate(evidence.samples.requests)]
    return resampled(evidence, requests=rows)


def test_a_step_of_the_clock_within_one_fault_leaves_the_others_decided() -> None:
    judgement = judge(step(healthy(), within(healthy(), "f2-kill")))
    assert {("recovery", "f2-kill"), ("in_force", "f2-kill"), ("load_arrived", "f2-kill")} <= undecided(
        judgement
    )
    assert not {subject for _, subject in undecided(judgement)} & {"f1-latency", "f3-cpu_cap", "run"}
    for fault in ("f1-latency", "f3-cpu_cap"):
        assert {f.verdict for f in judgement.findings if f.subject == fault} == {PASS}
    assert judgement.gate is INCONCLUSIVE
    # The control: the same step, too small to count.
    assert judge(step(healthy(), within(healthy(), "f2-kill"), by_ms=49.0)).gate is PASS


def test_one_hiccup_in_a_long_run_does_not_make_it_worthless() -> None:
    judgement = judge(step(long(), BASELINE_MS))
    assert judgement.gate is PASS
    for check in ("latency", "errors"):
        finding = found(judgement, check, "steady")
        assert "left out is what an incident touched: the wall clock stepped by 70" in finding.reason
        assert finding.n < found(judge(long()), check, "steady").n
    assert "touches everything of baseline" in found(judgement, "integrity", "run").reason
    assert any("wall clock" in gap["why"] for gap in judgement.tables["gaps"])  # type: ignore[attr-defined]


def test_too_little_is_left_without_what_was_touched() -> None:
    short = make(Recipe(faults=("latency",), baseline_s=100, clean_s=0))
    assert found(judge(short), "errors", "steady").verdict is PASS
    judgement = judge(step(short, BASELINE_MS))
    assert found(judgement, "errors", "steady").verdict is INCONCLUSIVE
    assert judgement.gate is INCONCLUSIVE


def lost_chunk(evidence: Evidence, chunk: str) -> Evidence:
    """The run in which k6 broke in one chunk and left no row of it, as the load generator journals it."""
    kept = [request for request in evidence.samples.requests if request.source != chunk]
    broken = resampled(evidence, requests=kept)

    def broke(event: Event) -> Event:
        if event.kind == "load_chunk_ended" and event.data["chunk"] == chunk:
            data = {"rows": 0, "truncated": True, "missing": 240, "why": f"chunk {chunk} was lost: gone"}
            return replace(event, data={**event.data, **data})
        return event

    ended = broken.journal.last("load_chunk_ended", chunk=chunk)
    assert ended is not None
    return death(edited(broken, broke), ended.at_ms + 100, "load", f"chunk {chunk} was lost: gone")


def test_a_chunk_that_broke_touches_its_own_time() -> None:
    judgement = judge(lost_chunk(long(), "0003"))
    assert judgement.gate is PASS
    assert found(judgement, "errors", "steady").n <= found(judge(long()), "errors", "steady").n - 239
    assert "no load request was due" in found(judgement, "errors", "steady").reason
    reason = found(judgement, "integrity", "run").reason
    assert "the chunk 0003 of the load broke" in reason and "the sampler load died" in reason
    # Within a fault's time it leaves undecided what rests on the load, and nothing else.
    last = list(long().samples.requests)[-200].source
    judgement = judge(lost_chunk(long(), last))
    assert ("load_arrived", "f1-latency") in undecided(judgement)
    assert found(judgement, "recovery", "f1-latency").verdict is PASS


def test_so_much_lost_load_is_no_load() -> None:
    """In a short run one chunk is a quarter of the steady load: too much to do without."""
    judgement = judge(lost_chunk(healthy(), "0001"))
    assert found(judgement, "load_arrived", "steady").verdict is INCONCLUSIVE
    assert found(judgement, "recovery", "f2-kill").verdict is PASS


def test_a_dead_observer_leaves_decided_what_it_saw_before() -> None:
    judgement = judge(death(healthy(), within(healthy(), "f2-kill"), "observer"))
    assert found(judgement, "recovery", "f1-latency").verdict is PASS
    assert found(judgement, "recovery", "f2-kill").verdict is INCONCLUSIVE
    assert found(judgement, "recovery", "f3-cpu_cap").verdict is INCONCLUSIVE
    assert found(judgement, "accuracy", "cpu_cap").verdict is INCONCLUSIVE
    # What it does not measure is judged all the same.
    assert found(judgement, "errors", "steady").verdict is PASS
    assert found(judgement, "in_force", "f3-cpu_cap").verdict is PASS
    assert judgement.gate is INCONCLUSIVE


def test_a_sampler_that_nobody_knows_touches_everything_after_its_death() -> None:
    judgement = judge(death(healthy(), within(healthy(), "f2-kill"), "a new one"))
    after = {f.verdict for f in judgement.findings if f.subject == "f3-cpu_cap"}
    assert after == {INCONCLUSIVE}
    assert found(judgement, "in_force", "f1-latency").verdict is PASS


def test_a_load_generator_that_died_somewhere_touches_all_of_its_load() -> None:
    judgement = judge(death(healthy(), 400_000.0, "load", "OSError: gone"))
    assert {("errors", "steady"), ("latency", "steady"), ("load_arrived", "f1-latency")} <= undecided(
        judgement
    )
    assert found(judgement, "recovery", "f3-cpu_cap").verdict is PASS


def test_after_the_end_of_everything_judged_an_incident_touches_nothing_and_is_listed() -> None:
    at_ms = healthy().journal.events[-1].at_ms + 60_000
    end = healthy().journal.events[-1]
    late = edited(healthy(), lambda e: replace(e, at_ms=at_ms + 1) if e.seq == end.seq else e)
    judgement = judge(death(late, at_ms, "observer", "did not stop in time"))
    assert judgement.gate is PASS
    assert (
        "touches host, memory, probes, recall of nothing that is judged"
        in found(judgement, "integrity", "run").reason
    )


def test_a_failure_outside_of_what_was_touched_stands() -> None:
    broken = failing(long(), 0, float("inf"), every=5)
    judgement = judge(step(broken, BASELINE_MS))
    assert found(judgement, "errors", "steady").verdict is FAIL
    slow = make(Recipe(recovers_s={"f2-kill": 40.0}))
    assert found(judge(step(slow, within(slow, "f2-kill"))), "recovery", "f2-kill").verdict is FAIL


def test_a_failure_within_what_was_touched_is_neither_a_failure_nor_forgotten() -> None:
    broken = failing(healthy(), 0, float("inf"), every=5)
    assert found(judge(broken), "errors", "steady").verdict is FAIL
    finding = found(judge(death(broken, BASELINE_MS, "load")), "errors", "steady")
    assert (finding.verdict, finding.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    slow = make(Recipe(recovers_s={"f2-kill": 40.0}))
    healed = slow.journal.last("fault_healed", fault="f2-kill")
    assert healed is not None
    finding = found(judge(step(slow, healed.at_ms + 20_000)), "recovery", "f2-kill")
    assert finding.verdict is INCONCLUSIVE and "wall clock" in finding.reason


def test_an_incident_takes_no_failure_out_of_the_gate_for_what_the_plan_did_not_promise() -> None:
    decision = Decision("errors", "steady", decidable=False, reason="too short")
    latency = replace(decision, check="latency")
    recipe = Recipe(decisions=(decision, latency), required=("integrity",))
    broken = failing(make(recipe), 0, float("inf"), every=5)
    assert judge(broken).gate is FAIL
    judgement = judge(death(broken, BASELINE_MS, "load"))
    assert found(judgement, "errors", "steady").verdict is INCONCLUSIVE
    assert judgement.gate is INCONCLUSIVE


@pytest.mark.parametrize("kind", ["interrupted", "aborted", "lab_failed", "lab_error", "guardian_lost"])
def test_what_ends_a_run_concerns_all_of_it(kind: str) -> None:
    judgement = judge(told(long(), BASELINE_MS, kind, why="gone"))
    assert found(judgement, "integrity", "run").verdict is INCONCLUSIVE
    assert judgement.gate is INCONCLUSIVE


def test_a_silence_of_the_load_in_a_steady_phase_is_left_out_and_said() -> None:
    kept = [r for r in long().samples.requests if not BASELINE_MS < r.scheduled_ms < BASELINE_MS + 5000]
    judgement = judge(resampled(long(), requests=kept))
    assert judgement.gate is PASS
    assert "left out are 5 s in which no load request was due" in found(judgement, "errors", "steady").reason
    assert (
        "no load request was due, touches requests of baseline" in found(judgement, "integrity", "run").reason
    )


KINDS: list[Callable[[Evidence, float], Evidence]] = [
    step,
    lambda evidence, at_ms: told(evidence, at_ms, "clock_stepped", by_ms=-400.0, from_ms=at_ms - 20),
    lambda evidence, at_ms: told(evidence, at_ms, "clock_stepped", by_ms=4000.0, from_ms=at_ms - 20),
    lambda evidence, at_ms: told(evidence, at_ms, "machine_suspended", by_ms=60_000.0, from_ms=at_ms - 20),
    lambda evidence, at_ms: told(evidence, at_ms, "lab_stalled", from_ms=at_ms - 1500, to_ms=at_ms),
    lambda evidence, at_ms: told(evidence, at_ms, "lab_error", fault="f1-latency", where="observe during"),
    *(
        (lambda evidence, at_ms, name=name: death(evidence, at_ms, name))
        for name in ("observer", "probe", "load", "sample_store", "engine_log", "unknown")
    ),
    lambda evidence, at_ms: death(evidence, at_ms, "load", "chunk 0001: 3 of 240 requests left no trace"),
]


@cache
def runs() -> tuple[tuple[Evidence, Judgement], ...]:
    """Runs of every colour: what is planted fails in one part of the run, or everywhere, or is not decided."""
    status = Recipe(status_fails=True)
    made = [
        healthy(),
        failing(healthy(), 60_000.0, 100_000.0),
        failing(healthy(), 0.0, float("inf"), every=50),
        make(status),
        make(Recipe(recovers_s={"f2-kill": 40.0}, lies_when_down=True)),
        make(Recipe(recovery_max_s=20.0, recovers_s={"f1-latency": 5.0})),
        make(replace(status, decisions=(Decision("errors", "steady", decidable=False, reason="short"),))),
    ]
    return tuple((evidence, judge(evidence)) for evidence in made)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_an_incident_never_improves_anything_and_is_never_forgotten(data: st.DataObject) -> None:
    evidence, before = data.draw(st.sampled_from(range(len(runs()))).map(lambda n: runs()[n]))
    at_ms = data.draw(st.floats(0.0, evidence.journal.events[-1].at_ms - 1))
    after = judge(data.draw(st.sampled_from(KINDS))(evidence, at_ms))
    for finding in before.findings:
        then = found(after, finding.check, finding.subject)
        for old, new in ((finding.verdict, then.verdict), (finding.gate_verdict, then.gate_verdict)):
            assert new is not PASS or old is PASS, (finding, then)
            # Nothing becomes the target's failure by an incident but what was not decided before.
            assert new is not FAIL or old in (FAIL, INCONCLUSIVE), (finding, then)
            assert new is not NOT_TESTED or old in (NOT_TESTED, PASS, INCONCLUSIVE), (finding, then)
    assert after.gate is not PASS or before.gate is PASS
    assert after.verdict is not PASS or before.verdict is PASS
    gaps: Any = after.tables["gaps"]
    assert len(gaps) > len(before.tables["gaps"])  # type: ignore[arg-type]
    assert "incidents: " in found(after, "integrity", "run").reason


@given(st.floats(0, 100), st.floats(0, 50), st.floats(0, 100), st.floats(0.001, 50), st.booleans())
@settings(max_examples=200, deadline=None)
def test_an_overlap_is_a_shared_moment(
    at: float, lasts: float, from_ms: float, long_ms: float, ends: bool
) -> None:
    incident = Incident(at, at + lasts if ends else None, None, "why")
    to_ms = from_ms + long_ms
    end = max(at + lasts, at) if ends else float("inf")
    moment = max(at, from_ms)
    shares = moment < to_ms and (moment < end or moment == at)
    assert incident.overlaps(from_ms, to_ms) == shares


def test_the_windows_know_their_incidents() -> None:
    windows = find_windows(step(healthy(), BASELINE_MS))
    assert [incident.streams for incident in windows.incidents if incident.event is not None] == [
        None,
        frozenset({"requests"}),
    ]
