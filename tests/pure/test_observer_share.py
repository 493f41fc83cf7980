"""What the lab itself asked of the target is counted from the work that it started, and never blamed on the target."""

from dataclasses import replace
from pathlib import Path

import pytest

from lab.evidence.sample_reader import read_samples
from lab.evidence.sample_store import SampleStore
from lab.judge import judge
from lab.judge.stats.lab_calls import LabCalls
from lab.judge.windows.window import Window
from lab.model.capacity import Capacity, OperationCost
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.samples import Layer, Probe, Recall, Samples
from lab.model.verdict import Finding, Verdict
from lab.report import report_json, summary, terminal
from lab.report.schema import report_schema
from tests.pure.evidence_factory import Recipe, make
from tests.pure.test_report import problems

PASS, INCONCLUSIVE = Verdict.PASS, Verdict.INCONCLUSIVE
STATES = ("steady", "in force", "recovering")
# The canary `list` takes 1 % of the target for each call a second, the truth query `search` 5 %.
COSTS = {name: OperationCost(100.0, 10.0, 10.0, 20) for name in ("list", "add", "status")}
CAPACITY = Capacity({**COSTS, "search": OperationCost(20.0, 45.0, 45.0, 20)}, 25.0, 1.0, 9.0)


def probes(hz: float, until_s: float, *, took_ms: float | None = 10.0, outcome: str = "ok") -> list[Probe]:
    """Canary probes at a steady rate; `took_ms` is None where they were never answered."""
    period_ms = 1000 / hz
    sent = [n * period_ms for n in range(int(until_s * hz))]
    return [Probe(at, None if took_ms is None else at + took_ms, "list", outcome, "") for at in sent]


def queries(hz: float, until_s: float) -> list[Recall]:
    period_ms = 1000 / hz
    sent = [5.0 + n * period_ms for n in range(int(until_s * hz))]
    return [Recall(at, at + 45, "dense", f"q{n}", True, 10, 10, Layer.OK, "") for n, at in enumerate(sent)]


def evidence(canary: list[Probe], recall: list[Recall], *, recorded: bool = True) -> Evidence:
    """A healthy run whose capacity was measured, with these calls of the lab in it."""
    whole = make(Recipe(faults=("kill",), warm_up_s=10, baseline_s=120, clean_s=30))
    store = [probe for probe in whole.samples.probes if probe.probe != "list"]
    samples = replace(whole.samples, probes=[*store, *canary], recall=recall)  # type: ignore[arg-type]
    events = [
        replace(event, kind="capacity_measured", data={}) if event.kind == "observer_cost" else event
        for event in whole.journal.events
        if recorded or event.kind != "observer_cost"
    ]
    observer = replace(whole.plan.observer, outstanding_max=2, recall_outstanding_max=1, share_max=0.05)
    plan = replace(whole.plan, capacity=CAPACITY, observer=observer)
    return replace(whole, plan=plan, samples=samples, journal=Journal(tuple(events)))


def shares(run: Evidence) -> dict[str, Finding]:
    return {found.subject: found for found in judge(run).findings if found.check == "observer_share"}


END_S = 400.0


def test_an_observer_within_its_budget_passes_in_every_state() -> None:
    found = shares(evidence(probes(1.0, END_S), queries(0.6, END_S)))
    assert set(found) == set(STATES)
    for finding in found.values():
        assert finding.verdict is finding.gate_verdict is PASS, finding.reason
        assert finding.observed == pytest.approx(0.01 + 0.6 / 20, rel=0.15)
    assert "list 1/s, search 0.6/s" in found["steady"].reason


def test_more_than_the_budget_is_inconclusive_with_the_lab_as_the_cause() -> None:
    for canary, recall in (
        (probes(4.5, END_S), queries(0.4, END_S)),
        (probes(1.0, END_S), queries(0.9, END_S)),
    ):
        for finding in shares(evidence(canary, recall)).values():
            assert finding.verdict is finding.gate_verdict is INCONCLUSIVE
            assert finding.observed is not None and finding.observed > 0.05
            assert "the lab itself loads the target too much" in finding.reason


def test_given_up_calls_count_and_slots_without_a_call_do_not() -> None:
    given_up = probes(6.0, END_S, took_ms=100.0, outcome="transport")
    assert all(f.verdict is INCONCLUSIVE for f in shares(evidence(given_up, queries(0.4, END_S))).values())
    unsent = [*probes(1.0, END_S), *probes(6.0, END_S, took_ms=None, outcome="unsent")]
    assert all(f.verdict is PASS for f in shares(evidence(unsent, queries(0.4, END_S))).values())
    refused = [replace(row, layer=Layer.UNSENT, answered=False, done_ms=None) for row in queries(6.0, END_S)]
    calm = evidence(probes(1.0, END_S), [*queries(0.4, END_S), *refused])
    assert all(f.verdict is PASS for f in shares(calm).values())


def test_one_window_over_the_budget_is_enough() -> None:
    calm = evidence(probes(1.0, END_S), queries(0.4, END_S))
    (injecting,) = calm.journal.of("fault_injecting")
    burst = [
        Probe(injecting.at_ms + 100 * n, injecting.at_ms + 100 * n + 10, "list", "ok", "") for n in range(150)
    ]
    found = shares(evidence([*probes(1.0, END_S), *burst], queries(0.4, END_S)))
    assert found["in force"].verdict is INCONCLUSIVE
    assert "in f1-kill" in found["in force"].reason
    assert found["steady"].verdict is PASS


def test_calls_that_pile_up_in_the_target_are_too_many_whatever_they_cost() -> None:
    hanging = probes(1.0, END_S, took_ms=10_000.0, outcome="transport")
    finding = shares(evidence(hanging, queries(0.4, END_S)))["steady"]
    assert finding.verdict is INCONCLUSIVE
    assert "11 of its calls waited at once, 3 may" in finding.reason


def test_without_the_record_of_a_measurement_nothing_is_claimed() -> None:
    run = evidence(probes(1.0, END_S), queries(0.4, END_S), recorded=False)
    assert shares(run)["steady"].verdict is INCONCLUSIVE


def test_a_sampler_that_died_may_have_asked_more_than_it_left() -> None:
    run = evidence(probes(1.0, END_S), queries(0.4, END_S))
    events = list(run.journal.events)
    steady = next(
        event for event in events if event.kind == "phase_started" and event.data["phase"] == "steady"
    )
    died = {"sampler": "canary", "why": "broken", "streams": ["probes"]}
    events.insert(len(events) - 1, Event(10_000, "run", steady.at_ms + 20_000, "", "sampler_died", died))
    found = shares(replace(run, journal=Journal(tuple(events))))
    assert found["steady"].verdict is INCONCLUSIVE and "sampler" in found["steady"].reason


def test_calls_are_counted_where_they_were_sent_and_wait_until_they_ended() -> None:
    rows = [Probe(0.0, 900.0, "list", "ok", ""), Probe(100.0, None, "list", "transport", "")]
    late = [Probe(500.0, 501.0, "list", "ok", ""), Probe(501.0, 502.0, "list", "ok", "")]
    run = make(Recipe(faults=()))
    calls = LabCalls(replace(run, samples=Samples(probes=[*rows, *late])))  # type: ignore[arg-type]
    assert calls.started([Window("a", "", 0.0, 100.0)]) == {"list": 1}
    assert calls.started([Window("a", "", 100.0, 600.0)]) == {"list": 3}
    # 2,000 ms are the canary's time limit in this plan.
    spans = {(0.0, 50.0): 1, (0.0, 600.0): 3, (600.0, 700.0): 2, (950.0, 960.0): 1, (2200.0, 2300.0): 0}
    for (from_ms, to_ms), waiting in spans.items():
        assert calls.waiting_max([Window("a", "", from_ms, to_ms)]) == waiting, (from_ms, to_ms)


def test_the_report_says_what_this_machine_could_answer_and_how_much_was_taken_of_it() -> None:
    run = evidence(probes(1.0, END_S), queries(0.4, END_S))
    report = report_json.build(run, judge(run))
    (row,) = report["capacity"]
    assert row["words"].startswith("25 calls/s of this mix, one at a time; load 4/s = 16 %, observer ")
    assert row["load_share"] == pytest.approx(0.16)
    shown = (summary.render(report), str(terminal.render(report, Path("runs/x"))))
    assert all("this machine: 25 calls/s of this mix" in " ".join(text.split()) for text in shown)
    assert "search | 40 % | 1.5/s | 20 | 45 | 45 | 20" in shown[0]
    assert problems(report, report_schema()) == []


def test_a_run_without_a_measurement_shows_no_capacity() -> None:
    run = make()
    report = report_json.build(run, judge(run))
    assert report["capacity"] == []
    assert "this machine" not in summary.render(report)


def test_a_slow_recovery_is_not_the_target_s_where_the_lab_asked_too_much() -> None:
    """The canary of this run is sent ten times a second while the fault is in force, with six truth queries in four."""
    whole = make(Recipe(faults=("kill",), recovers_s={"f1-kill": 45}))
    events = [
        replace(event, kind="capacity_measured", data={}) if event.kind == "observer_cost" else event
        for event in whole.journal.events
    ]
    run = replace(whole, journal=Journal(tuple(events)))

    def recovery(per_s: float) -> Finding:
        costs = {name: OperationCost(per_s, 10.0, 10.0, 20) for name in CAPACITY.operations}
        plan = replace(whole.plan, capacity=replace(CAPACITY, operations=costs))
        found = judge(replace(run, plan=plan)).findings
        return next(finding for finding in found if finding.check == "recovery")

    assert recovery(10_000).verdict is Verdict.FAIL, "a fast target has no excuse"
    slow = recovery(100)
    assert slow.verdict is slow.gate_verdict is INCONCLUSIVE
    assert "the lab itself asked too much of the target" in slow.reason


def test_rows_of_a_stored_table_count_as_those_in_memory(tmp_path: Path) -> None:
    refused = [replace(row, layer=Layer.UNSENT, answered=False, done_ms=None) for row in queries(2.0, 100.0)]
    run = evidence([*probes(1.0, 100.0), *probes(3.0, 100.0, took_ms=None, outcome="unsent")], refused)
    store = SampleStore(tmp_path / "samples.sqlite")
    store.add([*run.samples.probes, *run.samples.recall])
    store.close()
    stored, _ = read_samples(tmp_path / "samples.sqlite")
    window = [Window("all", "", 0.0, 100_000.0)]
    for samples in (run.samples, stored):
        calls = LabCalls(replace(run, samples=samples))
        assert (calls.started(window), calls.waiting_max(window)) == ({"list": 100}, 1)
