"""The stream of one fault: which observations are good by which rule, and which pause in it is too long."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from lab.judge.stats.observations import Observation
from lab.judge.windows.window import Window
from lab.judge.witnesses.calls import Call
from lab.judge.witnesses.limits import Limits
from lab.judge.witnesses.streams import ByAll, ByCanary, observations_per_s, streams
from lab.model.evidence import Evidence
from lab.model.journal import Journal
from lab.model.load import ConstantArrivalRate
from lab.model.plan import BY_CANARY, BY_LOAD, BY_TRUTH, Plan
from lab.model.recovery import FIVE_IN_A_ROW, Rule
from lab.model.samples import STORE_PROBE, WRONG, Layer, Probe, Recall, Request, Rows, Samples
from tests.pure.evidence_factory import LOAD, STATUS_ISSUES, Recipe, make

PLAN = make(Recipe(faults=("kill",), baseline_s=60.0, clean_s=0.0)).plan
SPAN = Window("f1-kill", "fault", 100_000.0, 200_000.0, "f1-kill")
STEADY = (Window("baseline", "steady", 20_000.0, 80_000.0),)


def run_with(
    *rows: Request | Probe | Recall, witnesses: Sequence[str] = (BY_CANARY,), slow_hz: float = 2.0
) -> Evidence:
    tables = {
        "requests": Rows(row for row in rows if isinstance(row, Request)),
        "probes": Rows(row for row in rows if isinstance(row, Probe)),
        "recall": Rows(row for row in rows if isinstance(row, Recall)),
    }
    return Evidence(plan_with(witnesses, slow_hz), Journal(()), Samples(**tables))  # type: ignore[arg-type]


def plan_with(witnesses: Sequence[str], slow_hz: float = 2.0) -> Plan:
    observer = replace(PLAN.observer, witnesses=tuple(witnesses), canary_slow_hz=slow_hz)
    return replace(PLAN, observer=observer)


def probe(at_ms: float, took_ms: float = 10.0, outcome: str = "ok", name: str = "list") -> Probe:
    return Probe(at_ms, at_ms + took_ms, name, outcome, "")


def query(at_ms: float, hits: int) -> Recall:
    return Recall(at_ms, at_ms + 9000, "dense", "q1", True, hits, 10, Layer.OK, "")


def request(at_ms: float, took_ms: float) -> Request:
    return Request(at_ms, at_ms, at_ms + took_ms, "add", True, Layer.OK, "", "0")


CANARY_ROWS = (
    probe(99_999.0),
    probe(100_000.0, 200.0),
    probe(110_000.0, 201.0),
    probe(120_000.0, 5.0, WRONG),
    probe(130_000.0, 5.0, "payload"),
    probe(140_000.0, name=STORE_PROBE),
    probe(200_000.0),
    query(150_000.0, 9),
    query(160_000.0, 8),
    query(200_000.0, 8),
    query(99_000.0, 8),
)


def test_the_canary_alone_is_rated_by_its_slo_within_the_span() -> None:
    stream = streams(run_with(*CANARY_ROWS), STEADY).within(SPAN)
    assert isinstance(stream, ByCanary)
    assert [(o.sent_ms, o.good) for o in stream.in_slo] == [
        (100_000.0, True),
        (110_000.0, False),
        (120_000.0, False),
        (130_000.0, False),
    ]
    assert [o.good for o in stream.answering()] == [True, True, True, False]
    assert stream.rule == PLAN.recovery_rule and stream.limits is None and stream.tables == ("probes",)
    assert (stream.name, stream.silence) == ("canary probes", "no canary probe was sent")


def test_whether_the_documents_are_right_again_is_shown_by_the_truth_queries() -> None:
    observations, rule = streams(run_with(*CANARY_ROWS), STEADY).within(SPAN).accurate()
    assert list(observations) == [
        Observation(150_000.0, 159_000.0, True),
        Observation(160_000.0, 169_000.0, False),
    ]
    assert rule == FIVE_IN_A_ROW


def test_a_canary_that_counts_hits_shows_it_itself() -> None:
    run = run_with(*CANARY_ROWS)
    target, name = run.plan.target, run.plan.target.canary
    operations = {**target.operations, name: replace(target.operations[name], document_ids=("ids",))}
    counting = replace(run, plan=replace(run.plan, target=replace(target, operations=operations)))
    observations, rule = streams(counting, STEADY).within(SPAN).accurate()
    assert [o.good for o in observations] == [True, True, False, False]
    assert rule == PLAN.recovery_rule


def test_a_fault_that_was_never_injected_has_no_observation() -> None:
    for witnesses in ((BY_CANARY,), (BY_LOAD, BY_CANARY, BY_TRUTH)):
        stream = streams(run_with(*CANARY_ROWS, witnesses=witnesses), STEADY).within(None)
        assert len(stream.in_slo) == len(stream.answering()) == len(stream.accurate()[0]) == 0
        assert stream.accurate()[1] == FIVE_IN_A_ROW


@pytest.mark.parametrize(
    ("slow_hz", "pause_ms"), [(2.0, 1500.0), (1.5, 2000.0), (1.0, 3000.0), (0.5, 3000.0), (50.0, 1500.0)]
)
def test_a_calm_canary_may_pause_for_three_of_its_periods_within_limits(
    slow_hz: float, pause_ms: float
) -> None:
    assert streams(run_with(slow_hz=slow_hz), STEADY).within(SPAN).calm_pause_ms == pause_ms


LIMITS = Limits(200.0, 0.8, {"search": 400.0})


def call(at_ms: float, took_ms: float, **values: object) -> Call:
    usual = Call(at_ms, at_ms + took_ms + 2, took_ms, "add", answered=True, right=True, found=None)
    return usual._replace(**values)  # type: ignore[arg-type]


CALLS = [
    call(100_000.0, 200.0),
    call(101_000.0, 200.1),
    call(102_000.0, 400.0, operation="search", found=0.8),
    call(103_000.0, 400.1, operation="search", found=0.9),
    call(104_000.0, 10.0, operation="search", found=0.7),
    call(105_000.0, 10.0, operation="search", found=0.9, right=False),
    call(106_000.0, math.inf, over_ms=116_000.0, answered=False, right=False),
    call(107_000.0, 10.0, operation="search", found=0.9, answered=False, right=False),
]


def test_a_call_is_good_if_it_was_right_in_time_and_found_enough() -> None:
    stream = ByAll.of(run_with(witnesses=(BY_LOAD, BY_CANARY)), SPAN, CALLS, LIMITS)
    assert [o.good for o in stream.in_slo] == [True, False, True, False, False, False, False, False]
    assert [o.good for o in stream.answering()] == [True, True, True, True, True, True, False, False]
    assert stream.in_slo[6] == Observation(106_000.0, 116_000.0, False)
    assert [o.asked for o in stream.in_slo] == [True] * 8
    searches, rule = stream.accurate()
    assert [(o.sent_ms, o.good) for o in searches] == [
        (102_000.0, True),
        (103_000.0, True),
        (104_000.0, False),
        (105_000.0, True),
        (107_000.0, False),
    ]
    assert rule == FIVE_IN_A_ROW
    assert stream.limits == LIMITS and stream.tables == ("requests", "probes")
    assert (stream.name, stream.silence) == ("observations", "nobody observed the target")


def test_a_stream_without_a_call_has_columns_of_the_right_kind() -> None:
    stream = ByAll.of(run_with(witnesses=(BY_LOAD,)), SPAN, [], LIMITS)
    assert stream.from_ms.dtype == stream.over_ms.dtype == stream.found.dtype == np.float64
    assert stream.in_time.dtype == stream.answered.dtype == stream.right.dtype == np.bool_
    assert len(stream.in_slo) == len(stream.accurate()[0]) == 0
    whole = ByAll.of(run_with(witnesses=(BY_LOAD,)), SPAN, [Call(1, 3, 2, "add", True, True, None)], LIMITS)
    assert whole.from_ms.dtype == whole.over_ms.dtype == np.float64


def test_all_witnesses_are_rated_by_what_was_usual_before_the_fault() -> None:
    """The load took 300 ms in the steady phase, so 450 ms are in time; and 900 ms in a phase after the fault."""
    usual = [request(21_000.0 + 1000 * n, 300.0) for n in range(10)]
    after = [request(210_000.0 + 1000 * n, 900.0) for n in range(10)]
    rows = [request(100_000.0, 450.0), request(101_000.0, 451.0), request(200_000.0, 1.0)]
    run = run_with(*usual, *after, *rows, *CANARY_ROWS, witnesses=(BY_LOAD, BY_TRUTH))
    stream = streams(run, (*STEADY, Window("later", "steady", 205_000.0, 400_000.0))).within(SPAN)
    assert [(o.sent_ms, o.good) for o in stream.in_slo][:2] == [(100_000.0, True), (101_000.0, False)]
    assert stream.limits == Limits(200.0, 0.9, {"add": 450.0})
    assert [o.sent_ms for o in stream.in_slo] == [100_000.0, 101_000.0, 150_000.0, 160_000.0]
    assert stream.tables == ("requests", "recall")
    # A fault that was never injected has no time before it.
    never = streams(run, STEADY).within(None).limits
    assert never is not None and never.slower == {}


def test_the_plan_promises_the_canary_and_the_requests_that_no_known_issue_may_explain() -> None:
    """The load sends four requests a second, and `status` is a tenth of them."""
    every = (BY_LOAD, BY_CANARY, BY_TRUTH)
    assert observations_per_s(plan_with(every), LOAD) == pytest.approx(6.0)
    assert observations_per_s(plan_with(every), None) == 2.0
    assert observations_per_s(plan_with((BY_CANARY, BY_TRUTH)), LOAD) == 2.0
    assert observations_per_s(plan_with((BY_LOAD,)), LOAD) == pytest.approx(4.0)
    assert observations_per_s(plan_with((BY_LOAD,)), None) == 0.0
    plan = plan_with(every)
    broken = replace(plan, target=replace(plan.target, known_issues=STATUS_ISSUES))
    assert observations_per_s(broken, LOAD) == pytest.approx(2.0 + 4.0 * 0.9)


@pytest.mark.parametrize(
    ("load_hz", "slow_hz", "pause_ms"), [(4.0, 2.0, 1500.0), (1.0, 0.5, 2000.0), (0.25, 0.25, 3000.0)]
)
def test_a_pause_of_three_periods_of_the_whole_stream_is_a_gap(
    load_hz: float, slow_hz: float, pause_ms: float
) -> None:
    run = run_with(witnesses=(BY_LOAD, BY_CANARY), slow_hz=slow_hz)
    load = replace(LOAD, schedule=ConstantArrivalRate(load_hz))
    steps = tuple(replace(step, load=load) for step in run.plan.steps)
    stream = streams(replace(run, plan=replace(run.plan, steps=steps)), STEADY).within(SPAN)
    usual = PLAN.recovery_rule
    assert stream.rule == Rule(usual.window, usual.enough, usual.hold_ms, pause_ms)
    assert stream.calm_pause_ms == pause_ms


def test_without_any_promised_observation_the_longest_pause_counts() -> None:
    stream = streams(run_with(witnesses=(BY_TRUTH,)), STEADY).within(SPAN)
    assert stream.rule.gap_ms == stream.calm_pause_ms == 3000.0
    # A rate below one observation a second is a rate all the same.
    assert (
        streams(run_with(witnesses=(BY_CANARY, BY_TRUTH), slow_hz=0.9), STEADY).within(None).rule.gap_ms
        == 3000.0
    )
