"""The load, the canary and the truth queries as one stream: what moves the recovery clock, and what must not."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.judge import judge
from lab.judge.checks import accuracy, recovery
from lab.judge.tables import faults as faults_table
from lab.judge.windows.timeline import FaultWindow, find_windows
from lab.model.evidence import Evidence
from lab.model.plan import BY_CANARY, BY_LOAD, BY_TRUTH
from lab.model.samples import Layer, Probe, Recall, Request, Rows
from lab.model.verdict import Finding, Verdict
from tests.pure import evidence_factory as factory

ALL = (BY_CANARY, BY_LOAD, BY_TRUTH)
FAULT = "f1-latency"


def recipe(**changed: Any) -> factory.Recipe:
    """One fault of half a minute, watched for more than the hold of a recovery."""
    plain = factory.Recipe(faults=("latency",), baseline_s=60.0, witnesses=ALL)
    return replace(plain, **changed)


def fault_of(evidence: Evidence) -> FaultWindow:
    (fault,) = find_windows(evidence).faults
    assert fault.span is not None
    assert fault.cleared_ms is not None
    return fault


def found(evidence: Evidence) -> Finding:
    (finding,) = recovery.findings(evidence, find_windows(evidence))
    return finding


def interval(evidence: Evidence) -> tuple[float, float]:
    finding = found(evidence)
    assert finding.ci is not None, finding.reason
    return finding.ci.lo, finding.ci.hi


def row(evidence: Evidence) -> Any:
    (only,) = faults_table.describe(evidence, find_windows(evidence), [])
    return only


def with_requests(evidence: Evidence, change: Any, from_s: float, to_s: float) -> Evidence:
    """The same evidence; each request due in these seconds after the heal is changed, or left out for None."""
    heal_ms = fault_of(evidence).cleared_ms or 0.0

    def changed(request: Request) -> Request | None:
        inside = heal_ms + 1000 * from_s <= request.scheduled_ms < heal_ms + 1000 * to_s
        return change(request) if inside else request

    rows = [new for request in evidence.samples.requests if (new := changed(request)) is not None]
    return factory.resampled(evidence, requests=rows)


def slow(by_ms: float) -> Any:
    return lambda r: replace(r, done_ms=None if r.done_ms is None else r.done_ms + by_ms)


def failing(layer: Layer, message: str = "the store is away") -> Any:
    return lambda r: replace(r, ok=False, layer=layer, message=message, hits=None, k=None, query_id=None)


# ---- the clock


@given(st.floats(0.5, 20.0))
@settings(max_examples=15, deadline=None)
def test_the_interval_holds_the_truth_and_is_as_wide_as_the_stream_is_sparse(recovers_s: float) -> None:
    """The stream has 7.5 observations a second, more where the factory's canary is fast."""
    lo_s, hi_s = interval(factory.make(recipe(recovers_s={FAULT: recovers_s})))
    # The recipe counts from the beginning of the heal, which is confirmed 20 ms later.
    assert lo_s <= recovers_s - 0.02 <= hi_s
    assert hi_s - lo_s < 0.5


def test_the_loads_late_backlog_moves_the_clock_where_the_canary_sees_nothing() -> None:
    # Such a fault harms nobody in the factory; the watch is long enough for what is planted.
    evidence = factory.make(recipe(faults=("partition",), recovers_s={"f1-partition": 12.0}))
    assert interval(evidence)[1] < 2
    late = with_requests(evidence, slow(1000.0), 0.0, 9.0)
    lo_s, hi_s = interval(late)
    assert 8.4 <= lo_s <= 9.0 <= hi_s + 0.3
    assert found(late).verdict is Verdict.PASS
    assert row(late)["recovery"]["from_heal"]["answers"]["hi_s"] < 2.5, "it answered, if late"


def test_a_plan_with_the_canary_alone_is_judged_by_it_alone() -> None:
    """The negative control: an older run's verdict does not change because its load was slow."""
    evidence = factory.make(recipe(witnesses=(BY_CANARY,)))
    late = with_requests(evidence, slow(1000.0), 0.0, 9.0)
    assert recovery.findings(late, find_windows(late)) == recovery.findings(evidence, find_windows(evidence))
    assert "canary probes bad" in found(late).reason


def test_one_witness_that_stays_bad_means_no_recovery() -> None:
    """Every tenth request fails for a reason that nobody declared: 2 of 20 are bad in every window."""
    evidence = factory.make(recipe())
    broken = with_requests(evidence, failing(Layer.IS_ERROR), 0.0, math.inf)
    kept = {r.id for n, r in enumerate(evidence.samples.requests) if n % 4}
    some = [
        r if r.id in kept else b
        for r, b in zip(evidence.samples.requests, broken.samples.requests, strict=True)
    ]
    finding = found(factory.resampled(evidence, requests=some))
    assert finding.verdict is Verdict.FAIL
    assert "did not recover" in finding.reason


@pytest.mark.parametrize("layer", [Layer.UNSENT, Layer.LOST])
def test_what_the_generator_did_not_send_or_lost_is_no_evidence(layer: Layer) -> None:
    evidence = factory.make(recipe())
    sent = {} if layer is Layer.LOST else {"sent_ms": None}

    def change(request: Request) -> Request:
        return replace(failing(layer)(request), done_ms=None, **sent)

    few = with_requests(evidence, lambda r: change(r) if int(r.scheduled_ms) % 1000 == 0 else r, 0.0, 20.0)
    assert interval(few)[1] < 2
    assert found(few).verdict is Verdict.PASS


def test_what_the_generator_began_late_is_no_evidence_and_what_it_began_in_time_is() -> None:
    evidence = factory.make(recipe())

    def delayed(by_ms: float) -> Any:
        return lambda r: replace(r, sent_ms=r.scheduled_ms + by_ms, done_ms=r.scheduled_ms + by_ms + 500)

    assert interval(with_requests(evidence, delayed(101.0), 2.0, 9.0))[1] < 2
    assert interval(with_requests(evidence, delayed(99.0), 2.0, 9.0))[0] > 8


def test_a_declared_known_issue_is_no_evidence_and_the_same_failure_undeclared_is() -> None:
    declared = factory.make(recipe(status_fails=True, known_issues=factory.STATUS_ISSUES))
    undeclared = factory.make(recipe(status_fails=True))
    assert interval(declared)[1] < 2
    assert found(declared).verdict is Verdict.PASS
    assert len(fault_of(declared).stream.in_slo) < len(fault_of(undeclared).stream.in_slo)


def test_a_pause_in_the_stream_is_inconclusive() -> None:
    evidence = factory.make(recipe())
    heal_ms = fault_of(evidence).cleared_ms or 0.0

    def silent(rows: Iterable[Any], time: str) -> list[Any]:
        return [r for r in rows if not heal_ms + 5000 <= getattr(r, time) < heal_ms + 7000]

    samples = evidence.samples
    loud = factory.resampled(evidence, requests=silent(samples.requests, "scheduled_ms"))
    assert found(loud).verdict is Verdict.PASS, "the canary and the truth queries were still there"
    quiet = factory.resampled(
        loud, probes=silent(samples.probes, "sent_ms"), recall=silent(samples.recall, "sent_ms")
    )
    assert found(quiet).verdict is Verdict.INCONCLUSIVE
    assert "nobody observed the target for" in found(quiet).reason


@given(st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_the_order_of_rows_decides_nothing(seed: int) -> None:
    random = Random(seed)
    evidence = factory.make(recipe(recovers_s={FAULT: 3.0}, status_fails=True))
    samples, tables = evidence.samples, {}
    for name in ("requests", "probes", "recall"):
        rows: list[Any] = list(getattr(samples, name))
        random.shuffle(rows)
        tables[name] = Rows(rows)
    shuffled = replace(evidence, samples=replace(samples, **tables))
    assert judge(shuffled) == judge(evidence)


# ---- limits


def slowed(evidence: Evidence, by_ms: float, from_s: float, to_s: float) -> Evidence:
    return with_requests(evidence, lambda r: slow(by_ms)(r) if r.op == "search" else r, from_s, to_s)


def test_in_time_is_as_before_the_fault_per_operation() -> None:
    """Searches take 300 ms more all the time; the latency check fails that, the recovery does not."""
    always = slowed(factory.make(recipe()), 300.0, -math.inf, math.inf)
    limits = row(always)["recovery"]["slower_limits_ms"]
    assert set(limits) == {"search"}
    assert 450 < limits["search"] < 700
    assert interval(always)[1] < 2
    assert "in time means within 200 ms or, as before the fault, search" in found(always).reason


def test_an_operation_that_was_quick_before_must_be_quick_again() -> None:
    """The negative control: the same 300 ms only after the fault, and much more than before."""
    assert found(slowed(factory.make(recipe()), 300.0, 0.0, math.inf)).verdict is Verdict.FAIL
    always = slowed(factory.make(recipe()), 300.0, -math.inf, math.inf)
    assert found(slowed(always, 500.0, 0.0, math.inf)).verdict is Verdict.FAIL


def test_a_request_that_met_the_fault_does_not_widen_the_limits() -> None:
    evidence = factory.make(recipe())
    span = fault_of(evidence).span
    assert span is not None

    def hang(request: Request) -> Request:
        met = span.from_ms - 500 <= request.scheduled_ms < span.from_ms
        return replace(request, done_ms=request.scheduled_ms + 9000) if met else request

    met = factory.resampled(evidence, requests=map(hang, evidence.samples.requests))
    assert row(met)["recovery"]["slower_limits_ms"] == {}


def usually_slow(answers: int) -> tuple[Evidence, list[float]]:
    """Every `add` takes 300 ms more; so many were answered in the steady phase before the fault, in these times."""
    always = with_requests(
        factory.make(recipe()), lambda r: slow(300.0)(r) if r.op == "add" else r, -math.inf, math.inf
    )
    windows = find_windows(always)
    (baseline,) = [window for window in windows.steady if window.name == "baseline"]
    adds = [
        request
        for request in always.samples.requests
        if request.op == "add"
        and request.done_ms is not None
        and baseline.from_ms <= request.scheduled_ms < request.done_ms < baseline.to_ms
    ]
    left_out = {request.id for request in adds[:-answers]}
    kept = [request for request in always.samples.requests if request.id not in left_out]
    took_ms = [(request.done_ms or 0.0) - (request.sent_ms or 0.0) for request in adds[-answers:]]
    return factory.resampled(always, requests=kept), took_ms


@pytest.mark.parametrize("answers", [5, 19])
def test_a_few_answers_give_a_limit_by_the_slowest_of_them(answers: int) -> None:
    evidence, took_ms = usually_slow(answers)
    assert len(took_ms) == answers
    limits = row(evidence)["recovery"]["slower_limits_ms"]
    assert limits["add"] == pytest.approx(1.5 * max(took_ms), rel=1e-3)
    assert interval(evidence)[1] < 2
    # Few answers never make the limit wider than more of them would.
    many, _ = usually_slow(60)
    assert limits["add"] <= row(many)["recovery"]["slower_limits_ms"]["add"]


def test_four_answers_give_no_limit() -> None:
    """The negative control: the SLO alone counts, and such a target has not recovered."""
    evidence, took_ms = usually_slow(4)
    assert len(took_ms) == 4
    assert row(evidence)["recovery"]["slower_limits_ms"] == {}
    assert found(evidence).verdict is Verdict.FAIL


# ---- documents


def wrong(hits: int) -> Any:
    return lambda r: r if r.hits is None else replace(r, hits=hits)


def test_wrong_documents_in_the_loads_searches_move_both_clocks() -> None:
    evidence = with_requests(factory.make(recipe()), wrong(3), 0.0, 10.0)
    clocks = row(evidence)["recovery"]["from_heal"]
    assert 8.5 < clocks["recall"]["lo_s"] <= 10 <= clocks["recall"]["hi_s"] + 0.5
    assert 8.5 < clocks["slo"]["lo_s"] <= 10
    assert clocks["answers"]["hi_s"] < 2


def test_a_target_that_was_inaccurate_before_fails_accuracy_and_not_recovery() -> None:
    evidence = with_requests(factory.make(recipe()), wrong(7), -math.inf, math.inf)
    assert interval(evidence)[1] < 2
    (steady, _) = accuracy.findings(evidence, find_windows(evidence))
    assert steady.observed is not None
    assert steady.observed < 0.9


def test_accuracy_counts_the_loads_searches_and_the_labs() -> None:
    alone, both = factory.make(recipe(witnesses=(BY_CANARY,))), factory.make(recipe())
    steady = [accuracy.findings(e, find_windows(e))[0] for e in (alone, both)]
    windows = find_windows(both)
    searches = sum(r.op == "search" and windows.is_steady(r.scheduled_ms) for r in both.samples.requests)
    assert steady[1].n == steady[0].n + searches
    assert any(place.startswith("samples:requests") for place in steady[1].evidence)
    lies = with_requests(both, wrong(0), -math.inf, math.inf)
    assert accuracy.findings(lies, find_windows(lies))[0].verdict is Verdict.FAIL


def test_an_explicit_error_of_a_search_is_no_answer() -> None:
    evidence = with_requests(factory.make(recipe()), failing(Layer.IS_ERROR), -math.inf, math.inf)
    (steady, _) = accuracy.findings(evidence, find_windows(evidence))
    assert steady.verdict is Verdict.PASS
    assert steady.n < 200


# ---- detection


def test_a_request_that_hangs_is_noticed_when_it_is_given_up() -> None:
    evidence = factory.make(recipe())
    span = fault_of(evidence).span
    assert span is not None

    def hang(request: Request) -> Request:
        hangs = span.from_ms <= request.scheduled_ms < span.to_ms - 40_000
        return (
            replace(failing(Layer.TRANSPORT, "1050 request timeout")(request), done_ms=None)
            if hangs
            else request
        )

    def well(probe: Probe) -> Probe:
        return replace(probe, done_ms=probe.sent_ms + 10, outcome="ok")

    hanging = factory.resampled(
        evidence,
        requests=map(hang, evidence.samples.requests),
        probes=map(well, evidence.samples.probes),
        recall=(),
    )
    detected = row(hanging)["recovery"]["detected"]
    assert 10.0 <= detected["hi_s"] <= 10.3, "nobody could know before the timeout of 10 s"


# ---- a queue that answers one call at a time


SERVICE_MS, TIMEOUT_MS = 45.0, 10_000.0


def queued(arrivals_ms: Sequence[float], hangs: tuple[float, float]) -> list[float]:
    """When each call is answered by a server that works off one at a time, and stands still for a while."""
    done, free_ms = [], 0.0
    for at_ms in arrivals_ms:
        begins_ms = max(at_ms, free_ms)
        if begins_ms + SERVICE_MS > hangs[0] and begins_ms < hangs[1]:
            begins_ms = hangs[1]
        free_ms = begins_ms + SERVICE_MS
        done.append(free_ms)
    return done


def outage(outage_s: float) -> tuple[Evidence, float]:
    """A hang of so many seconds at 4 requests/s and one call of the lab a second; and the computed time to drain."""
    made = factory.make(recipe(hold_s=outage_s, recovers_s={FAULT: 10.0}))
    fault = fault_of(made)
    assert fault.span is not None
    assert fault.cleared_ms is not None
    hangs = (fault.span.from_ms + 50, fault.cleared_ms)
    load = [(r.scheduled_ms, r) for r in made.samples.requests]
    # While the target hangs, no more than two calls of the lab wait in it.
    ends_ms = made.samples.requests.times()[-1]
    lab_ms = [float(at) for at in np.arange(1100.0, ends_ms, 1000.0)]
    asked_ms = [at for at in lab_ms if not hangs[0] + 1900 <= at < hangs[1]]
    calls: list[tuple[float, Request | None]] = sorted(
        [*load, *((at, None) for at in asked_ms)], key=lambda call: call[0]
    )
    done = queued([at for at, _ in calls], hangs)
    requests = [answer(r, at) for (_, r), at in zip(calls, done, strict=True) if r is not None]
    probes = [
        Probe(at, min(over, at + TIMEOUT_MS), "list", *verdict_of(at, over))
        for (at, r), over in zip(calls, done, strict=True)
        if r is None
    ]
    looks = [probe for probe in made.samples.probes if probe.probe != "list"]
    evidence = factory.resampled(made, requests=requests, probes=[*probes, *looks], recall=())
    waiting = sum(hangs[0] <= at < hangs[1] for at, _ in calls)
    # What is sent t seconds after the heal waits for what is left of the backlog, and is answered within the SLO from
    # the t on at which waiting and its own service take 200 ms together.
    load_share = (4 + 1) * SERVICE_MS / 1000
    return evidence, (waiting * SERVICE_MS + SERVICE_MS - 200) / 1000 / (1 - load_share)


def answer(request: Request, done_ms: float) -> Request:
    if done_ms - request.scheduled_ms > TIMEOUT_MS:
        gave_up = failing(Layer.TRANSPORT, "1050 request timeout")(request)
        return replace(gave_up, sent_ms=request.scheduled_ms, done_ms=None)
    return replace(request, ok=True, layer=Layer.OK, sent_ms=request.scheduled_ms, done_ms=done_ms)


def verdict_of(sent_ms: float, done_ms: float) -> tuple[str, str]:
    late = done_ms - sent_ms > TIMEOUT_MS
    return ("transport", "no answer within 10 s") if late else ("ok", "")


@pytest.mark.parametrize("outage_s", [10.0, 15.0, 20.0, 25.0])
def test_a_backlog_takes_as_long_as_the_queue_computes(outage_s: float) -> None:
    evidence, drained_s = outage(outage_s)
    lo_s, hi_s = interval(evidence)
    assert lo_s - 0.05 <= drained_s <= hi_s + 0.05, (lo_s, drained_s, hi_s)
    assert hi_s - lo_s < 0.6
    assert found(evidence).verdict is Verdict.PASS


def test_the_report_says_what_waited_at_the_heal_and_whose_it_was() -> None:
    evidence, _ = outage(20.0)
    fault = fault_of(evidence)
    backlog = row(evidence)["backlog"]
    heal_ms = fault.cleared_ms or 0.0
    open_ms = heal_ms - TIMEOUT_MS
    still_open = sum(open_ms < r.scheduled_ms <= heal_ms for r in evidence.samples.requests)
    assert backlog["waiting_load"] == still_open == 40
    assert backlog["waiting_lab"] == 0, "its two calls had been given up"
    assert backlog["given_up_lab"] == 2
    assert backlog["given_up_load"] == sum(
        r.done_ms is None and r.scheduled_ms + TIMEOUT_MS <= heal_ms for r in evidence.samples.requests
    )
    assert 3.0 < backlog["drained_s"] < 4.5
    assert 5 < backlog["answered_per_s"] <= 1000 / SERVICE_MS


def test_a_slow_recovery_is_explained_and_a_quick_one_is_not() -> None:
    evidence, _ = outage(20.0)
    assert "at the heal" not in found(evidence).reason
    strict = replace(
        evidence, plan=replace(evidence.plan, bounds={**evidence.plan.bounds, "recovery_s": 10.0})
    )
    assert "at the heal 40 calls waited for an answer (40 of the load, 0 of the lab)" in found(strict).reason
    assert "had been given up (2 of the lab); the last of them was answered after" in found(strict).reason


def test_truth_queries_that_were_never_sent_are_no_evidence() -> None:
    evidence = factory.make(recipe())

    def unsent(query: Recall) -> Recall:
        return replace(query, answered=False, hits=0, done_ms=None, layer=Layer.UNSENT)

    without = factory.resampled(evidence, recall=map(unsent, evidence.samples.recall))
    assert interval(without)[1] < 2
    assert found(without).verdict is Verdict.PASS
