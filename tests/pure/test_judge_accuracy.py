"""The check of accuracy, on a few hundred truth queries whose mean can be worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lab.judge.checks import accuracy
from lab.judge.stats.observations import Observation
from lab.judge.windows.fault_window import FaultWindow
from lab.judge.windows.incidents import Incident
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import BY_LOAD, FAULT, STEADY, Plan
from lab.model.samples import Layer, Recall, Request, Rows, Samples
from lab.model.target import KnownIssue
from lab.model.verdict import Bound, Finding, Interval, KnownIssueCount, Verdict
from tests.pure.evidence_factory import EMPTY_ISSUE, Recipe, make, target
from tests.pure.window_factory import fault_window

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
PLAN = make(Recipe(faults=("kill", "latency", "kill"), warm_up_s=5, baseline_s=10, clean_s=0, hold_s=5)).plan
FIRST, OTHER, SECOND = PLAN.faults()
BASELINE = Window("baseline", STEADY, 0.0, 100_000.0)
SPAN = Window(FIRST.id, FAULT, 200_000.0, 300_000.0, FIRST.id)
EVENT = Event(40, "run", 30_000.0, "", "sampler_died", {})
ALWAYS = replace(EMPTY_ISSUE, faults=())


def query(at_ms: float, number: int, hits: int = 10, message: str = "") -> Recall:
    layer = Layer.PAYLOAD if message else Layer.OK
    return Recall(at_ms, at_ms + 30, "dense", f"q{number:03d}", True, hits, 10, layer, message)


def queries(count: int, from_ms: float = 0.0, wrong: int = 0) -> list[Recall]:
    """One each 100 ms, each about another document; the first few found nothing at all."""
    return [query(from_ms + 100 * n, n, 0 if n < wrong else 10) for n in range(count)]


def findings(
    recall: Sequence[Recall],
    *faults: FaultWindow,
    issues: tuple[KnownIssue, ...] = (),
    incidents: tuple[Incident, ...] = (),
    kinds: tuple[tuple[float, frozenset[str]], ...] = (),
    requests: Sequence[Request] = (),
    plan: Plan = PLAN,
) -> dict[str, Finding]:
    plan = replace(plan, target=target(issues))
    windows = Windows((), (BASELINE,), faults, 0, 300_000, incidents=incidents, kinds=kinds)
    samples = Samples(recall=Rows(recall), requests=Rows(requests))
    found = accuracy.findings(Evidence(plan, Journal(()), samples), windows)
    assert {finding.check for finding in found} == {"accuracy"}
    return {finding.subject: finding for finding in found}


def recovered(planned: Any, span: Window, at_ms: float, **more: Any) -> FaultWindow:
    return fault_window(planned, span, recovering=Observation(at_ms - 10, at_ms, True), **more)


def test_perfect_answers_to_36_queries_are_just_enough_to_pass() -> None:
    finding = findings(queries(36))["steady"]
    assert (finding.verdict, finding.gate_verdict, finding.observed, finding.n) == (PASS, PASS, 1.0, 36)
    assert (finding.unit, finding.bound) == ("recall@10", Bound(">", 0.9))
    assert finding.ci is not None and finding.ci.hi == 1.0
    assert finding.ci.lo == pytest.approx(0.025 ** (1 / 36))
    assert finding.evidence == ("samples:recall[0..100000ms]",)
    assert finding.reason == "36 of 36 queries answered; 0 of 36 answers have no right document"
    few = findings(queries(35))["steady"]
    assert (few.verdict, few.gate_verdict, few.n) == (INCONCLUSIVE, INCONCLUSIVE, 35)
    assert few.reason == "35 queries answered; at least 36 are needed to decide"
    assert few.evidence == ("samples:recall[0..100000ms]",)


def test_several_answers_to_one_query_count_once() -> None:
    twice = [*queries(35), *queries(35, 50_000.0)]
    finding = findings(twice)["steady"]
    assert (finding.verdict, finding.n) == (INCONCLUSIVE, 70)
    assert finding.reason == "35 queries answered; at least 36 are needed to decide"


def test_wrong_answers_fail_and_unanswered_queries_are_told_apart() -> None:
    silent = [replace(q, answered=False, hits=0, layer=Layer.IS_ERROR) for q in queries(50, 60_000.0)]
    finding = findings([*queries(200, wrong=60), *silent])["steady"]
    assert (finding.verdict, finding.gate_verdict, finding.observed, finding.n) == (FAIL, FAIL, 0.7, 200)
    assert finding.reason == "200 of 250 queries answered; 60 of 200 answers have no right document"
    assert finding.ci is not None and 0.6 < finding.ci.lo < 0.7 < finding.ci.hi < 0.78


def test_the_bound_is_the_plan_s_and_the_resampling_is_repeatable_and_differs_by_subject() -> None:
    rows = queries(200, wrong=60)
    lenient = replace(PLAN, bounds={"accuracy": 0.5})
    assert findings(rows, plan=lenient)["steady"].verdict is PASS
    kill = [*rows, *queries(200, 200_000.0, wrong=60)]
    both = findings(kill, recovered(FIRST, SPAN, 290_000.0))
    assert both["steady"] == findings(kill)["steady"]
    assert both["steady"].ci != both["kill"].ci
    other_seed = replace(PLAN, seed=PLAN.seed + 1)
    assert findings(rows, plan=other_seed)["steady"].ci != both["steady"].ci


def test_known_issues_leave_the_gate_to_the_other_answers() -> None:
    empty = [query(20_000.0 + 100 * n, 200 + n, 0, "min_items") for n in range(60)]
    finding = findings([*queries(140), *empty], issues=(ALWAYS,))["steady"]
    assert (finding.verdict, finding.gate_verdict) == (FAIL, PASS)
    assert finding.known_issues == (KnownIssueCount("empty-when-dead", 60),)
    assert finding.reason == (
        "200 of 200 queries answered; 60 of 200 answers have no right document; "
        "without known issues: mean 1.0000 over 140 answers"
    )
    wrong = findings([*queries(140, wrong=60), *empty], issues=(ALWAYS,))["steady"]
    assert (wrong.verdict, wrong.gate_verdict) == (FAIL, FAIL)
    assert "without known issues: mean 0.5714 over 140 answers" in wrong.reason


def test_the_gate_needs_36_queries_that_no_issue_explains() -> None:
    empty = [query(20_000.0 + 100 * n, 200 + n, 0, "min_items") for n in range(60)]
    enough = findings([*queries(36), *empty], issues=(ALWAYS,))["steady"]
    assert (enough.verdict, enough.gate_verdict) == (FAIL, PASS)
    assert enough.reason.endswith("mean 1.0000 over 36 answers")
    few = findings([*queries(35), *empty], issues=(ALWAYS,))["steady"]
    assert (few.verdict, few.gate_verdict) == (FAIL, INCONCLUSIVE)
    assert few.reason.endswith(
        "; without known issues: mean 1.0000 over 35 answers to 35 queries; at least 36 are needed to decide the gate"
    )
    wrong = findings([*queries(35, wrong=35), *empty], issues=(ALWAYS,))["steady"]
    assert (wrong.verdict, wrong.gate_verdict) == (FAIL, INCONCLUSIVE)
    none = findings(empty, issues=(ALWAYS,))["steady"]
    assert (none.verdict, none.gate_verdict, none.ci) == (
        FAIL,
        INCONCLUSIVE,
        Interval(0.0, none.ci.hi if none.ci else 0),
    )
    assert none.reason.endswith(
        "; without known issues: nothing over 0 answers to 0 queries; at least 36 are needed to decide the gate"
    )


def test_an_issue_that_needs_a_fault_explains_only_what_was_asked_while_it_lasted() -> None:
    empty = [query(1000.0 * n, n, 0, "min_items") for n in range(100)]
    kinds = ((0.0, frozenset[str]()), (40_000.0, frozenset({"kill"})))
    finding = findings(empty, issues=(EMPTY_ISSUE,), kinds=kinds)["steady"]
    assert finding.known_issues == (KnownIssueCount("empty-when-dead", 60),)
    assert (finding.verdict, finding.gate_verdict) == (FAIL, FAIL)


def test_a_kind_of_fault_is_judged_over_all_its_windows_until_recovered() -> None:
    later = replace(SPAN, name=SECOND.id, from_ms=400_000.0, to_ms=500_000.0, fault=SECOND.id)
    between = replace(SPAN, name=OTHER.id, from_ms=300_000.0, to_ms=400_000.0, fault=OTHER.id)
    faults = (
        recovered(FIRST, SPAN, 202_000.0),
        recovered(SECOND, later, 402_000.0),
        fault_window(OTHER, between),
    )
    rows = [*queries(30, 200_000.0), *queries(30, 400_000.0, wrong=1), *queries(100, 300_000.0, wrong=50)]
    found = findings([replace(r, query_id=f"{r.query_id}-{n}") for n, r in enumerate(rows)], *faults)
    assert set(found) == {"steady", "kill", "latency"}
    # Each kill has 20 queries until it was recovered from.
    assert (found["kill"].n, found["kill"].observed) == (40, 39 / 40)
    assert found["kill"].evidence == (
        "samples:recall[200000..300000ms]",
        "samples:recall[400000..500000ms]",
    )
    assert found["latency"].verdict is FAIL and found["latency"].n == 100


def test_with_too_few_answers_before_the_recovery_those_until_the_end_of_the_step_count() -> None:
    rows = queries(100, 200_000.0)
    finding = findings(rows, recovered(FIRST, SPAN, 203_500.0))["kill"]
    assert (finding.verdict, finding.n) == (PASS, 100)
    assert finding.reason == (
        "35 of 35 queries answered; 0 of 100 answers have no right document"
        " (too few before the recovery, so answers until the end of the step count too)"
    )
    enough = findings(rows, recovered(FIRST, SPAN, 203_600.0))["kill"]
    assert enough.n == 36 and "too few" not in enough.reason


def test_one_unproven_fault_leaves_its_kind_undecided_and_no_other() -> None:
    def event(seq: int) -> Event:
        return Event(seq, "run", 0.0, "", "fault_injecting", {})

    between = replace(SPAN, name=OTHER.id, from_ms=300_000.0, to_ms=400_000.0, fault=OTHER.id)
    faults = (
        recovered(FIRST, SPAN, 290_000.0, events=(event(3),)),
        recovered(SECOND, SPAN, 290_000.0, events=(event(9),), doubts=("void: a", "b")),
        recovered(OTHER, between, 390_000.0),
    )
    found = findings([*queries(100, 200_000.0), *queries(100, 300_000.0)], *faults)
    assert (found["kill"].verdict, found["latency"].verdict) == (INCONCLUSIVE, PASS)
    assert found["kill"].reason == f"{SECOND.id}: void: a; {SECOND.id}: b"
    assert found["kill"].evidence == ("journal:3", "journal:9")
    never = findings(queries(100), fault_window(FIRST, None))["kill"]
    assert never.reason == "0 queries answered; at least 36 are needed to decide"


def test_what_an_incident_touched_is_left_out() -> None:
    lost = Incident(10_000, 20_000, frozenset({"recall"}), "the asker died", EVENT)
    rows = [*queries(100), *queries(100, 10_000.0, wrong=100)]
    finding = findings([replace(r, query_id=f"{n}") for n, r in enumerate(rows)], incidents=(lost,))["steady"]
    assert (finding.verdict, finding.n) == (INCONCLUSIVE, 100)
    assert finding.reason.endswith("; left out is what an incident touched: the asker died (journal:40)")
    for other in (replace(lost, event=None), replace(lost, streams=frozenset({"requests"}))):
        assert "left out" not in findings(rows, incidents=(other,))["steady"].reason
    # An incident between the recovery and the end of the step touches the answers that may count there.
    late = replace(lost, from_ms=295_000, to_ms=296_000)
    kill = findings(queries(900, 200_000.0), recovered(FIRST, SPAN, 290_000.0), incidents=(late,))["kill"]
    assert "left out" in kill.reason


def test_where_the_load_is_a_witness_its_searches_count_and_its_table_is_named() -> None:
    plan = replace(PLAN, observer=replace(PLAN.observer, witnesses=("canary", BY_LOAD)))
    searches = [
        Request(
            100.0 * n,
            100.0 * n,
            100.0 * n + 40,
            "search",
            True,
            Layer.OK,
            "",
            "0000",
            0,
            f"r{n}",
            10,
            10,
            f"q{n}",
        )
        for n in range(60)
    ]
    finding = findings((), requests=searches, plan=plan)["steady"]
    assert (finding.verdict, finding.n) == (PASS, 60)
    assert finding.evidence == ("samples:recall[0..100000ms]", "samples:requests[0..100000ms]")
    lost = Incident(10_000, 20_000, frozenset({"requests"}), "the load broke", EVENT)
    assert "left out" in findings((), requests=searches, plan=plan, incidents=(lost,))["steady"].reason
