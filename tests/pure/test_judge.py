"""The judge as a whole: order decides nothing, nothing missing ever helps, and every planted defect moves its
finding.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import judge as judging
from lab.judge import conclude, discover, judge, judge_by
from lab.judge.windows.timeline import find_windows
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import Decision
from lab.model.samples import TABLES, Layer, Probe, Request, Rows
from lab.model.verdict import Finding, Judgement, Verdict, undecided, worst
from tests.pure.evidence_factory import (
    EMPTY_ISSUE,
    REQUIRED,
    STATUS_ISSUES,
    Recipe,
    edited,
    make,
    resampled,
    with_journal,
)

PASS, FAIL, INCONCLUSIVE, NOT_TESTED = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_TESTED
SMALL = Recipe(faults=("latency",), warm_up_s=5, baseline_s=100, clean_s=0)


@cache
def healthy() -> Evidence:
    return make()


@cache
def small() -> Evidence:
    return make(SMALL)


def found(judgement: Judgement, check: str, subject: str) -> Finding:
    return next(f for f in judgement.findings if (f.check, f.subject) == (check, subject))


def verdicts(judgement: Judgement) -> dict[str, set[Verdict]]:
    every: dict[str, set[Verdict]] = {}
    for finding in judgement.findings:
        every.setdefault(finding.check, set()).add(finding.verdict)
    return every


def broken_requests(evidence: Evidence, change: Callable[[Request], Request], every: int) -> list[Request]:
    return [change(r) if n % every == 0 else r for n, r in enumerate(evidence.samples.requests)]


def test_a_healthy_run_passes() -> None:
    for evidence in (healthy(), small()):
        judgement = judge(evidence)
        assert (judgement.verdict, judgement.gate, judgement.interrupted) == (PASS, PASS, False)
        assert {f.verdict for f in judgement.findings} == {PASS, NOT_TESTED}
        assert 0.5 < judgement.coverage < 1


def test_the_order_of_samples_and_checks_decides_nothing() -> None:
    evidence = healthy()
    expected = judge(evidence)
    shuffled = {}
    for seed, table in enumerate(TABLES):
        rows = list(getattr(evidence.samples, table))
        random.Random(seed).shuffle(rows)
        shuffled[table] = Rows(rows)
    samples = replace(evidence.samples, **shuffled)
    assert judge(replace(evidence, samples=samples)) == expected
    checks = dict(reversed(discover().items()))
    assert judge_by(evidence, checks) == expected


DECIDED = st.sampled_from([PASS, INCONCLUSIVE, FAIL, NOT_TESTED])
RANK = [PASS, INCONCLUSIVE, FAIL]


def some(check: str, subject: str, verdict: Verdict) -> Finding:
    return Finding(check, subject, verdict, verdict, "", n=1, evidence=("journal:0",))


@given(st.lists(DECIDED, max_size=5), DECIDED)
@settings(max_examples=100, deadline=None)
def test_adding_a_finding_never_improves_the_verdict(others: list[Verdict], one_more: Verdict) -> None:
    plan = replace(healthy().plan, required=("integrity",))
    whole = some("integrity", "run", PASS)
    findings = [whole, *(some("check", str(n), verdict) for n, verdict in enumerate(others))]
    before = conclude(plan, findings, {}, interrupted=False)
    after = conclude(plan, [some("another", "one", one_more), *findings], {}, interrupted=False)
    assert RANK.index(after.gate) >= RANK.index(before.gate)
    assert RANK.index(after.verdict) >= RANK.index(before.verdict)
    assert conclude(plan, list(reversed(findings)), {}, interrupted=False) == before


def test_no_findings_are_inconclusive() -> None:
    plan = replace(healthy().plan, required=())
    judgement = conclude(plan, [], {}, interrupted=False)
    assert (judgement.verdict, judgement.gate) == (INCONCLUSIVE, INCONCLUSIVE)
    assert judge_by(healthy(), {}).gate is INCONCLUSIVE
    assert worst([]) is worst([NOT_TESTED]) is INCONCLUSIVE


def test_no_proper_prefix_of_a_journal_passes() -> None:
    events = small().journal.events
    for length in range(len(events)):
        judgement = judge(with_journal(small(), events[:length]))
        assert judgement.gate is not PASS, f"the first {length} events"
        assert judgement.verdict is not PASS
        assert judgement.interrupted


def test_no_event_can_be_left_out_unnoticed() -> None:
    events = small().journal.events
    for left_out in range(len(events)):
        journal = Journal(events[:left_out] + events[left_out + 1 :])
        assert judge(replace(small(), journal=journal)).gate is not PASS, events[left_out].kind


@pytest.mark.parametrize(
    "kind",
    [
        "run_started",
        "phase_ended",
        "load_chunk_ended",
        "proof",
        "fault_in_force",
        "fault_healed",
        "observer_cost",
        "run_ended",
    ],
)
def test_events_left_out_by_a_careful_forger_do_not_help(kind: str) -> None:
    forged = edited(small(), lambda event: None if event.kind == kind else event)
    assert judge(forged).gate is not PASS


@pytest.mark.parametrize("table", TABLES)
def test_an_emptied_table_never_passes(table: str) -> None:
    careless = replace(small(), samples=replace(small().samples, **{table: Rows[Any]()}))
    careful = resampled(small(), **{table: ()})
    for evidence in (careless, careful):
        judgement = judge(evidence)
        assert judgement.gate is INCONCLUSIVE
        assert judgement.verdict is INCONCLUSIVE


@pytest.mark.parametrize("table", TABLES)
def test_half_a_table_never_passes(table: str) -> None:
    rows = getattr(small().samples, table)
    careless = replace(small(), samples=replace(small().samples, **{table: rows[: len(rows) // 2]}))
    assert judge(careless).gate is INCONCLUSIVE


def test_an_event_after_the_end_is_no_end() -> None:
    *events, end = small().journal.events
    late = replace(end, seq=end.seq + 1, at_ms=end.at_ms + 1, kind="container_event", data={})
    assert judge(with_journal(small(), [*events, end, late])).gate is INCONCLUSIVE


def test_damage_never_passes() -> None:
    assert judge(replace(small(), damage=("samples.sqlite, table host: no such table",))).gate is INCONCLUSIVE
    assert judge(replace(small(), journal=replace(small().journal, damage="line 9"))).gate is INCONCLUSIVE


def test_without_load_nothing_about_load_is_decided() -> None:
    judgement = judge(resampled(healthy(), requests=()))
    told = verdicts(judgement)
    assert told["latency"] == told["errors"] == told["load_arrived"] == {INCONCLUSIVE}
    assert judgement.gate is INCONCLUSIVE


def test_load_that_was_due_and_never_sent_is_not_the_targets_failure_and_no_pass() -> None:
    def drop(r: Request) -> Request:
        return replace(
            r, sent_ms=None, done_ms=None, ok=False, layer=Layer.UNSENT, message="no virtual user was free"
        )

    judgement = judge(resampled(healthy(), requests=broken_requests(healthy(), drop, every=1)))
    told = verdicts(judgement)
    assert told["latency"] == told["errors"] == {INCONCLUSIVE}
    few = judge(resampled(healthy(), requests=broken_requests(healthy(), drop, every=12)))
    assert found(few, "errors", "steady").gate_verdict is INCONCLUSIVE
    assert found(few, "latency", "steady").gate_verdict is INCONCLUSIVE


def test_load_below_the_floor_is_not_enough_to_judge_by() -> None:
    kept = [r for n, r in enumerate(healthy().samples.requests) if n % 8]
    assert found(judge(resampled(healthy(), requests=kept)), "load_arrived", "steady").verdict is INCONCLUSIVE
    assert (
        found(judge(resampled(healthy(), requests=kept)), "load_arrived", "f2-kill").verdict is INCONCLUSIVE
    )


def test_rows_that_no_chunk_delivered_are_noticed() -> None:
    requests = list(healthy().samples.requests)
    more = replace(healthy(), samples=replace(healthy().samples, requests=Rows([*requests, requests[-1]])))
    assert found(judge(more), "load_arrived", "chunks").verdict is INCONCLUSIVE


def test_requests_without_trace_widen_the_interval() -> None:
    kept = [r for n, r in enumerate(healthy().samples.requests) if n % 25]
    judgement = judge(resampled(healthy(), requests=kept))
    assert found(judgement, "load_arrived", "steady").verdict is PASS
    assert found(judgement, "errors", "steady").verdict is INCONCLUSIVE


def test_a_fifth_of_late_requests_fails_latency_and_not_errors() -> None:
    def late(r: Request) -> Request:
        return replace(r, done_ms=r.scheduled_ms + 260)

    judgement = judge(resampled(healthy(), requests=broken_requests(healthy(), late, every=5)))
    assert found(judgement, "latency", "steady").verdict is FAIL
    assert found(judgement, "errors", "steady").verdict is PASS
    assert judgement.gate is FAIL


def test_waiting_before_sending_never_passes_and_is_not_the_target_s_either() -> None:
    def held_back(r: Request) -> Request:
        return replace(r, sent_ms=r.scheduled_ms + 300, done_ms=r.scheduled_ms + 320)

    judgement = judge(resampled(healthy(), requests=broken_requests(healthy(), held_back, every=5)))
    assert found(judgement, "latency", "steady").verdict is INCONCLUSIVE


def test_a_dead_server_that_fails_fast_passes_neither_latency_nor_errors() -> None:
    def refused(r: Request) -> Request:
        return replace(r, done_ms=None, ok=False, layer=Layer.TRANSPORT, message="connection refused")

    judgement = judge(resampled(healthy(), requests=broken_requests(healthy(), refused, every=1)))
    assert found(judgement, "latency", "steady").verdict is FAIL
    assert found(judgement, "latency", "steady").observed == float("inf")
    assert found(judgement, "errors", "steady").verdict is FAIL


def test_wrong_and_fast_answers_fail_accuracy_while_latency_passes() -> None:
    wrong = [replace(row, hits=0) for row in healthy().samples.recall]
    judgement = judge(resampled(healthy(), recall=wrong))
    assert {f.verdict for f in judgement.findings if f.check == "accuracy"} == {FAIL}
    assert found(judgement, "latency", "steady").verdict is PASS


def test_an_explicit_error_is_no_wrong_answer_and_no_right_one() -> None:
    silent = [replace(row, answered=False, layer=Layer.IS_ERROR, hits=0) for row in healthy().samples.recall]
    told = verdicts(judge(resampled(healthy(), recall=silent)))
    assert told["accuracy"] == {INCONCLUSIVE}
    judgement = judge(healthy())
    kill = next(row for row in judgement.tables["accuracy"] if row["subject"] == "kill")  # type: ignore[attr-defined]
    assert kill["answered"] < 5 < kill["unanswered"]


def test_fewer_than_36_queries_decide_accuracy_neither_way() -> None:
    for hits in (0, 10):
        asked = [r for r in healthy().samples.recall if r.query_id < "q035"]
        few = [replace(row, answered=True, hits=9 if row.query_id == "q001" else hits) for row in asked]
        told = verdicts(judge(resampled(healthy(), recall=few)))
        assert told["accuracy"] == {INCONCLUSIVE}


def test_too_few_unexplained_answers_leave_the_gate_open() -> None:
    evidence = make(Recipe(lies_when_down=True, known_issues=(replace(EMPTY_ISSUE, faults=()),)))
    recall = [
        replace(row, hits=0, layer=Layer.PAYLOAD, message="min_items")
        if n % 4
        else replace(row, answered=True, hits=9 + n % 8 // 4, layer=Layer.OK, message="")
        for n, row in enumerate(evidence.samples.recall)
    ]
    finding = found(judge(resampled(evidence, recall=recall)), "accuracy", "kill")
    assert (finding.verdict, finding.gate_verdict) == (FAIL, INCONCLUSIVE)


def test_answers_that_claim_success_while_the_store_is_dead_fail_that_kind_alone() -> None:
    judgement = judge(make(Recipe(lies_when_down=True)))
    assert found(judgement, "accuracy", "kill").verdict is FAIL
    assert found(judgement, "accuracy", "latency").verdict is PASS
    assert found(judgement, "accuracy", "steady").verdict is PASS


def test_forty_seconds_after_a_kill_fail_recovery() -> None:
    judgement = judge(make(Recipe(recovers_s={"f2-kill": 40.0})))
    finding = found(judgement, "recovery", "f2-kill")
    assert finding.verdict is FAIL
    assert finding.ci is not None
    assert finding.ci.lo <= 40.0 <= finding.ci.hi
    assert found(judgement, "recovery", "f1-latency").verdict is PASS


def test_a_recovery_that_was_not_watched_until_it_held_is_not_decided() -> None:
    judgement = judge(make(Recipe(recovery_max_s=20.0, recovers_s={"f2-kill": 5.0})))
    assert found(judgement, "recovery", "f2-kill").verdict is INCONCLUSIVE
    assert "must hold" in found(judgement, "recovery", "f2-kill").reason


def test_what_never_recovers_fails_with_a_censored_time() -> None:
    judgement = judge(make(Recipe(recovers_s={"f2-kill": 1e6})))
    finding = found(judgement, "recovery", "f2-kill")
    assert finding.verdict is FAIL
    assert finding.observed is None
    row = judgement.tables["faults"][1]  # type: ignore[index]
    assert row["recovery"]["from_heal"]["slo"]["censored"] is True


def test_recovery_at_the_bound_is_not_decided() -> None:
    finding = found(judge(make(Recipe(recovers_s={"f2-kill": 30.0}))), "recovery", "f2-kill")
    assert finding.verdict is INCONCLUSIVE
    assert finding.ci is not None
    assert finding.ci.lo < 30 <= finding.ci.hi


def test_the_clock_of_a_kill_starts_with_the_start_that_was_issued() -> None:
    def slow_start(event: Event) -> Event:
        late = event.kind == "fault_healed" and event.data["fault"] == "f2-kill"
        return replace(event, at_ms=event.at_ms + 800) if late else event

    before, after = judge(healthy()), judge(edited(healthy(), slow_start))
    assert found(after, "recovery", "f2-kill").ci == found(before, "recovery", "f2-kill").ci


def test_slots_that_could_not_be_sent_prove_nothing() -> None:
    def unsent(probe: Probe) -> Probe:
        return Probe(probe.sent_ms, None, probe.probe, "unsent", "5 probes were outstanding")

    judgement = judge(resampled(healthy(), probes=[unsent(probe) for probe in healthy().samples.probes]))
    assert verdicts(judgement)["recovery"] == {Verdict.INCONCLUSIVE}


def test_a_hole_between_the_probes_leaves_recovery_undecided() -> None:
    healed = healthy().journal.first("fault_healed", fault="f2-kill")
    assert healed is not None
    hole = (healed.at_ms + 4000, healed.at_ms + 9000)
    kept = [probe for probe in healthy().samples.probes if not hole[0] < probe.sent_ms < hole[1]]
    judgement = judge(resampled(healthy(), probes=kept))
    assert found(judgement, "recovery", "f2-kill").verdict is INCONCLUSIVE
    assert found(judgement, "recovery", "f1-latency").verdict is PASS
    assert any("canary" in gap["why"] for gap in judgement.tables["gaps"])  # type: ignore[attr-defined]


def clocks_of(evidence: Evidence, number: int) -> dict[str, Any]:
    """The clocks of the fault with this number, as the report has them."""
    rows: Any = judge(evidence).tables["faults"]
    recovery: dict[str, Any] = rows[number - 1]["recovery"]
    return recovery


def holds(clock: dict[str, Any], truth_s: float) -> bool:
    """Whether an interval holds the truth."""
    return bool(clock["lo_s"] <= truth_s <= clock["hi_s"])


def test_each_clock_of_a_kill_holds_its_own_truth() -> None:
    """The store is dead until 4 s after the start, works until 9 s, and answers wrongly until 12 s."""
    id_, hold_s = "f1-kill", 30.0
    recipe = Recipe(
        faults=("kill",), recovers_s={id_: 4.0}, store_busy_s={id_: 9.0}, wrong_s={id_: 12.0}, hold_s=hold_s
    )
    told = clocks_of(make(replace(recipe, recovery_max_s=80.0)), 1)
    for name, truth_s in (("answers", 4.0), ("slo", 12.0), ("recall", 12.0), ("idle", 9.0)):
        assert holds(told["from_heal"][name], truth_s), name
        # Injected 0.3 s after its step's begin, healed 1 s and its hold after that.
        assert holds(told["from_injection"][name], truth_s + hold_s + 0.7), name
    assert holds(told["detected"], 0.05)
    assert told["detected_s"] == told["detected"]["hi_s"]


def test_a_store_that_stays_busy_is_censored_and_one_that_nobody_watched_is_not_reported() -> None:
    busy = clocks_of(make(Recipe(store_busy_s={"f1-latency": 1e6})), 1)
    assert busy["from_heal"]["idle"]["censored"]
    assert busy["from_heal"]["idle"]["hi_s"] is None
    assert not busy["from_heal"]["slo"]["censored"]
    canary = [probe for probe in healthy().samples.probes if probe.probe != "store_idle"]
    unwatched = clocks_of(resampled(healthy(), probes=canary), 1)
    assert unwatched["from_heal"]["idle"] is unwatched["from_injection"]["idle"] is None


def test_looks_at_the_store_never_stand_in_for_the_canary() -> None:
    def looks(a: float, b: float) -> list[Probe]:
        return [Probe(at, at + 5, "store_idle", "ok", "") for at in np.arange(a, b, 100.0)]

    evidence = resampled(healthy(), probes=looks(1000, healthy().journal.events[-1].at_ms))
    judgement = judge(evidence)
    assert verdicts(judgement)["recovery"] == {INCONCLUSIVE}
    told = clocks_of(evidence, 2)
    assert told["detected"] is told["from_heal"]["answers"] is told["from_heal"]["slo"] is None
    assert any("canary" in gap["why"] for gap in judgement.tables["gaps"])  # type: ignore[attr-defined]


def test_a_busy_store_is_no_bad_canary() -> None:
    busy = judge(make(Recipe(store_busy_s={"f1-latency": 1e6})))
    assert found(busy, "recovery", "f1-latency") == found(judge(healthy()), "recovery", "f1-latency")


def test_times_from_the_injection_count_from_when_it_was_issued() -> None:
    """A restart returns only when its new process exists; its harm began before that."""

    def slow(event: Event) -> Event:
        late = event.kind == "fault_injected" and event.data["fault"] == "f2-kill"
        return replace(event, at_ms=event.at_ms + 240) if late else event

    assert clocks_of(edited(healthy(), slow), 2) == clocks_of(healthy(), 2)


def test_harm_that_began_long_after_the_recovery_was_not_noticed_then() -> None:
    cap = healthy().journal.last("settled", fault="f3-cpu_cap")
    assert cap is not None
    probes = [
        replace(p, outcome="transport")
        if p.probe == "list" and cap.at_ms - 6100 < p.sent_ms < cap.at_ms - 5600
        else p
        for p in healthy().samples.probes
    ]
    for evidence in (healthy(), resampled(healthy(), probes=probes)):
        told = clocks_of(evidence, 3)
        assert told["detected"]["censored"]
        assert told["detected_s"] is None


@pytest.mark.parametrize("undo", ["StartContainer", "ReviveContainer"])
def test_every_heal_that_starts_a_container_is_timed_from_the_start(undo: str) -> None:
    def another(event: Event) -> Event:
        if event.data.get("fault") != "f2-kill":
            return event
        if event.kind == "fault_healed":
            return replace(event, at_ms=event.at_ms + 700)
        return (
            replace(event, data={**event.data, "undo": {"type": undo}})
            if event.kind == "fault_injecting"
            else event
        )

    told = clocks_of(edited(healthy(), another), 2)
    assert told["from_heal"] == clocks_of(healthy(), 2)["from_heal"]


UNPROVEN = [
    ("before", {"absent": False}),
    ("during", {"holds": False}),
    ("still", {"holds": False, "absent": True}),
    ("still", {"holds": False, "absent": False}),
]


def without_proof(moment: str, fault: str = "f1-latency", **values: Any) -> Callable[[Event], Event]:
    def change(event: Event) -> Event:
        hit = event.kind == "proof" and event.data["fault"] == fault and event.data["moment"] == moment
        return replace(event, data={**event.data, **values}) if hit else event

    return change


@pytest.mark.parametrize(("moment", "values"), UNPROVEN)
@pytest.mark.parametrize("fault", ["f1-latency", "f2-kill"])
def test_a_fault_that_was_not_proven_decides_nothing(
    fault: str, moment: str, values: dict[str, bool]
) -> None:
    judgement = judge(edited(healthy(), without_proof(moment, fault, **values)))
    for check, subject in (("in_force", fault), ("recovery", fault), ("accuracy", fault[3:])):
        assert found(judgement, check, subject).gate_verdict is INCONCLUSIVE, check
    assert judgement.gate is INCONCLUSIVE


def test_an_effect_that_is_not_seen_gone_is_not_healed() -> None:
    judgement = judge(edited(healthy(), without_proof("after", absent=False)))
    assert found(judgement, "in_force", "f1-latency").verdict is INCONCLUSIVE
    assert found(judgement, "recovery", "f1-latency").verdict is INCONCLUSIVE


def test_a_void_fault_is_inconclusive_even_if_everything_else_was_recorded() -> None:
    def void(event: Event) -> Event:
        hit = event.kind == "settled" and event.data["fault"] == "f1-latency"
        return (
            replace(event, kind="fault_void", data={"fault": "f1-latency", "why": "proxy disabled"})
            if hit
            else event
        )

    judgement = judge(edited(healthy(), void))
    assert found(judgement, "in_force", "f1-latency").verdict is INCONCLUSIVE
    assert "proxy disabled" in found(judgement, "recovery", "f1-latency").reason


def test_an_interrupted_run_shows_its_gap_and_its_missing_faults() -> None:
    healed = healthy().journal.last("fault_healed", fault="f1-latency")
    assert healed is not None
    kept = list(healthy().journal.events[: healed.seq + 1])
    stop = replace(healed, seq=healed.seq + 1, kind="interrupted", data={"why": "Ctrl-C"})
    end = replace(healthy().journal.events[-1], seq=healed.seq + 2, at_ms=healed.at_ms + 900)
    judgement = judge(with_journal(healthy(), [*kept, stop, end]))
    assert judgement.interrupted
    assert judgement.gate is INCONCLUSIVE
    assert found(judgement, "in_force", "f3-cpu_cap").verdict is INCONCLUSIVE
    assert any("Ctrl-C" in gap["why"] for gap in judgement.tables["gaps"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["sampler_died", "clock_stepped", "lab_failed", "interrupted"])
def test_incidents_make_a_pass_impossible(kind: str) -> None:
    data = {"sampler": "canary", "why": "gone", "by_ms": 70.0}

    def incident(event: Event) -> Event:
        return replace(event, kind=kind, data=data) if event.kind == "settled" else event

    assert judge(edited(small(), incident)).gate is INCONCLUSIVE


def test_a_small_clock_step_is_no_incident() -> None:
    def step(event: Event) -> Event:
        return (
            replace(event, kind="clock_stepped", data={"by_ms": 20.0}) if event.kind == "settled" else event
        )

    assert judge(edited(small(), step)).gate is PASS


@pytest.mark.parametrize("check", REQUIRED)
def test_a_required_check_that_is_left_out_leaves_the_gate_open(check: str) -> None:
    checks = {name: found for name, found in discover().items() if name != check}
    judgement = judge_by(healthy(), checks)
    assert judgement.gate is INCONCLUSIVE
    assert found(judgement, "required", check).gate_verdict is INCONCLUSIVE


def test_a_required_check_that_does_not_exist_leaves_the_gate_open() -> None:
    evidence = replace(healthy(), plan=replace(healthy().plan, required=("no_such_check",)))
    assert judge(evidence).gate is INCONCLUSIVE


def test_what_the_plan_cannot_decide_is_not_tested_and_says_what_would_do() -> None:
    decision = Decision("accuracy", "kill", decidable=False, reason="20 of 36 queries", needs_s=1200.0)
    finding = found(judge(make(Recipe(decisions=(decision,)))), "accuracy", "kill")
    assert (finding.verdict, finding.gate_verdict) == (NOT_TESTED, NOT_TESTED)
    assert "20 min" in finding.reason


def test_required_and_not_decidable_leaves_the_gate_open() -> None:
    decision = Decision("latency", "steady", decidable=False, reason="too short", needs_s=600.0)
    assert judge(make(Recipe(decisions=(decision,)))).gate is INCONCLUSIVE


def test_a_failure_beyond_doubt_stands_although_the_plan_promised_nothing() -> None:
    decision = Decision("recovery", "f2-kill", decidable=False, reason="too short")
    judgement = judge(make(Recipe(decisions=(decision,), recovers_s={"f2-kill": 45.0})))
    assert found(judgement, "recovery", "f2-kill").gate_verdict is FAIL


def test_what_the_plan_speaks_of_never_vanishes() -> None:
    decisions = (
        Decision("recovery", "f9-partition", decidable=False, reason="needs root"),
        Decision("latency", "elsewhere", decidable=True, reason=""),
    )
    judgement = judge(make(Recipe(decisions=decisions)))
    assert found(judgement, "recovery", "f9-partition").verdict is NOT_TESTED
    assert found(judgement, "latency", "elsewhere").verdict is INCONCLUSIVE


def test_known_issues_pass_the_gate_and_not_the_verdict() -> None:
    issues = (*STATUS_ISSUES, EMPTY_ISSUE)
    recipe = Recipe(status_fails=True, lies_when_down=True, known_issues=issues, hold_s=20)
    judgement = judge(make(recipe))
    assert (judgement.verdict, judgement.gate) == (FAIL, PASS)
    errors = found(judgement, "errors", "steady")
    assert (errors.verdict, errors.gate_verdict) == (FAIL, PASS)
    assert [(issue.id, issue.n) for issue in errors.known_issues] == [("status-errors", 96)]
    assert found(judgement, "accuracy", "kill").gate_verdict is PASS


def test_a_gate_never_takes_answers_from_another_time_for_those_that_known_issues_explain() -> None:
    """Until recovered there are 47 answers, and known issues leave two: those after the recovery stand in for none."""
    finding = found(judge(make(Recipe(lies_when_down=True, known_issues=(EMPTY_ISSUE,)))), "accuracy", "kill")
    assert (finding.verdict, finding.gate_verdict) == (FAIL, INCONCLUSIVE)
    assert "at least 36 are needed to decide the gate" in finding.reason


def test_undeclared_they_fail_the_gate() -> None:
    assert judge(make(Recipe(status_fails=True))).gate is FAIL
    assert judge(make(Recipe(status_fails=True, known_issues=STATUS_ISSUES[:1]))).gate is FAIL
    assert judge(make(Recipe(lies_when_down=True, known_issues=STATUS_ISSUES))).gate is FAIL


def test_a_known_issue_does_not_hide_another_failure_of_the_same_operation() -> None:
    evidence = make(Recipe(status_fails=True, known_issues=STATUS_ISSUES))
    assert judge(evidence).gate is PASS
    status = [n for n, request in enumerate(evidence.samples.requests) if request.op == "status"]
    other = set(status[::3])
    requests = [
        replace(r, message="disk quota exceeded") if n in other else r
        for n, r in enumerate(evidence.samples.requests)
    ]
    judgement = judge(resampled(evidence, requests=requests))
    assert found(judgement, "errors", "steady").gate_verdict is FAIL
    assert "disk quota exceeded" in found(judgement, "errors", "steady").reason


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "list"},
        {"layer": "is_error"},
        {"target_version": "0.2.0"},
        {"message": ""},
        {"message": "may be used"},
        {"faults": ("kill",)},
    ],
)
def test_a_known_issue_that_does_not_match_explains_nothing(change: dict[str, Any]) -> None:
    issues = tuple(replace(issue, **change) for issue in STATUS_ISSUES)
    judgement = judge(make(Recipe(status_fails=True, known_issues=issues)))
    assert judgement.gate is FAIL
    assert found(judgement, "errors", "steady").known_issues == ()


def test_a_known_issue_that_no_longer_occurs_is_reported() -> None:
    judgement = judge(make(Recipe(known_issues=STATUS_ISSUES)))
    assert [row["seen"] for row in judgement.tables["known_issues"]] == [False, False]  # type: ignore[attr-defined]
    assert judgement.gate is PASS


def test_wrong_answers_that_no_issue_explains_are_not_hidden_by_those_that_one_does() -> None:
    evidence = make(Recipe(lies_when_down=True, known_issues=(EMPTY_ISSUE,), hold_s=20))
    assert judge(evidence).gate is PASS
    recall = [
        replace(row, message="expected results to be a list") if row.hits == 0 and n % 2 else row
        for n, row in enumerate(evidence.samples.recall)
    ]
    assert found(judge(resampled(evidence, recall=recall)), "accuracy", "kill").gate_verdict is not PASS


def test_an_observer_that_takes_too_much_or_was_not_measured() -> None:
    def cost(**values: float) -> Evidence:
        def change(event: Event) -> Event:
            return replace(event, data={**event.data, **values}) if event.kind == "observer_cost" else event

        return edited(small(), change)

    heavy = found(judge(cost(share=0.2)), "observer_share", "steady")
    assert heavy.verdict is heavy.gate_verdict is INCONCLUSIVE, "what the lab does never fails the target"
    assert "the lab itself loads the target too much" in heavy.reason
    assert found(judge(cost(canary_ms=0.0)), "observer_share", "steady").verdict is INCONCLUSIVE


def test_a_check_that_breaks_becomes_inconclusive_and_never_vanishes() -> None:
    def broken(evidence: Evidence, windows: object) -> list[Finding]:
        raise KeyError("rows")

    judgement = judge_by(small(), {**discover(), "latency": broken})
    assert found(judgement, "latency", "run").verdict is INCONCLUSIVE
    assert "rows" in found(judgement, "latency", "run").reason


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_mangled_events_never_raise_and_never_pass_unnoticed(data: st.DataObject) -> None:
    events = list(small().journal.events)
    at = data.draw(st.integers(0, len(events) - 1))
    junk = st.one_of(st.none(), st.text(max_size=5), st.integers(-5, 5), st.lists(st.none(), max_size=2))
    keys = sorted(events[at].data) or ["x"]
    values = {key: data.draw(junk) for key in data.draw(st.lists(st.sampled_from(keys), max_size=3))}
    events[at] = replace(events[at], data={**events[at].data, **values})
    assert judge(with_journal(small(), events)).verdict in RANK


def test_two_checks_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from lab.judge.checks import errors

    monkeypatch.setattr(errors, "CHECK", "latency")
    with pytest.raises(ValueError, match="latency"):
        discover()


def test_a_run_without_any_evidence_is_inconclusive() -> None:
    evidence = Evidence(healthy().plan, Journal(()), make(SMALL).samples)
    judgement = judging.judge(evidence)
    assert judgement.gate is INCONCLUSIVE
    assert undecided("a", "b", "c").verdict is INCONCLUSIVE


def test_what_passes_by_itself_is_timed_from_its_issue_however_long_it_was_held() -> None:
    """A restart: the outage lies within the hold, and a clock from the heal would not show it."""

    def transient(event: Event) -> Event:
        if event.kind != "fault_injecting":
            return event
        return replace(event, data={**event.data, "transient": True})

    evidence = edited(make(), transient)
    fault = find_windows(evidence).faults[0]
    issued, returned = fault.event("fault_injecting"), fault.event("fault_injected")
    assert issued is not None and fault.cleared_from_ms == issued.at_ms
    assert returned is not None and fault.cleared_ms == returned.at_ms
    usual = find_windows(make()).faults[0]
    assert usual.cleared_ms is not None and usual.cleared_ms > issued.at_ms
    assert fault.recovery is not None and usual.recovery is not None
    assert fault.recovery[0].hi_s == fault.recovery[1].hi_s
