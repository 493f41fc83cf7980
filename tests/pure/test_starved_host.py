"""A failure of a time-based check does not stand if what others took of the machine's CPU may have caused it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.host.machine import kernel
from lab.judge import judge
from lab.judge.windows.host_cpu import Starvation, share_of_others, share_waiting, starvation
from lab.model.capacity import Capacity, OperationCost
from lab.model.evidence import Evidence
from lab.model.plan import Decision
from lab.model.samples import HostReading, Layer
from tests.pure.evidence_factory import Recipe, make, resampled
from tests.pure.test_incidents import FAIL, INCONCLUSIVE, PASS, failing, found

CPUS = 2.0
LATE = Recipe(faults=("kill",), recovers_s={"f1-kill": 40.0})
SLOW_MS = 300.0


def on_a_machine(
    evidence: Evidence,
    others: float,
    waiting: float | None = 1.0,
    *,
    from_ms: float = 0.0,
    to_ms: float = float("inf"),
    load: bool = True,
) -> Evidence:
    """The run on a machine of two CPUs, of which others take a share between two times; the target takes 0.2 CPUs."""
    ticks = np.arange(1000.0, evidence.journal.events[-1].at_ms + 5000, 5000)
    busy_s = np.concatenate(([0.0], np.cumsum([5.0 if from_ms <= at < to_ms else 0.0 for at in ticks[:-1]])))

    def read(metric: str, values: Any) -> Iterator[HostReading]:
        yield from (
            HostReading(float(at), metric, float(value)) for at, value in zip(ticks, values, strict=True)
        )

    passed_s = (ticks - 1000) / 1000
    rows = [*read("mcp_cpu_s", 0.2 * passed_s), *read("lab_cpu_s", 0 * passed_s)]
    rows += read("host_cpu_idle_s", 77 + (CPUS - 0.2) * passed_s - CPUS * others * busy_s)
    rows += read("load_cpu_s", 0 * passed_s) if load else []
    rows += [] if waiting is None else read("host_cpu_waiting_s", waiting * busy_s)
    return resampled(evidence, host=rows)


def recovery(evidence: Evidence) -> Any:
    return found(judge(evidence), "recovery", "f1-kill")


def test_a_late_recovery_fails_on_a_quiet_machine_and_not_beside_a_neighbour() -> None:
    late = make(LATE)
    assert recovery(late).verdict is recovery(on_a_machine(late, 0.0)).verdict is FAIL
    finding = recovery(on_a_machine(late, 0.5))
    assert (finding.verdict, finding.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert "the machine was starved: all else took 50% of its CPU" in finding.reason
    assert judge(on_a_machine(late, 0.5)).gate is INCONCLUSIVE


def test_a_pass_beside_a_neighbour_stays_a_pass() -> None:
    quick = make(Recipe(faults=("kill",)))
    for others in (0.5, 0.9):
        judgement = judge(on_a_machine(quick, others))
        assert judgement.gate is PASS
        assert {f.verdict for f in judgement.findings} == {f.verdict for f in judge(quick).findings}


@pytest.mark.parametrize(
    ("others", "waiting", "verdict"),
    [
        (0.1, 1.0, FAIL),  # 40 s less a fifth is still too late,
        (0.15, 1.0, INCONCLUSIVE),  # and less three tenths is not.
        (0.6, 0.1, FAIL),  # Others took much, but hardly anybody waited for a CPU.
        (0.6, 0.2, INCONCLUSIVE),
        (0.0, 1.0, FAIL),  # Who waits, waits for the target itself.
        (0.04, None, FAIL),  # Without PSI nobody waits for longer than the CPUs are busy:
        (0.4, None, INCONCLUSIVE),
    ],
)
def test_a_failure_stands_if_it_stands_without_what_others_took(
    others: float, waiting: float | None, verdict: object
) -> None:
    # The factory's target can use two CPUs, so the share of the machine is the share of its capacity.
    assert recovery(on_a_machine(make(LATE), others, waiting)).verdict is verdict


def test_a_target_that_can_use_less_of_the_machine_loses_more_of_it() -> None:
    late = make(LATE)
    small = replace(late.plan, target=replace(late.plan.target, capacity_cpu_cores=1))
    assert recovery(on_a_machine(late, 0.1)).verdict is FAIL
    assert recovery(on_a_machine(replace(late, plan=small), 0.1)).verdict is INCONCLUSIVE


def measured(evidence: Evidence, cpu_ms: float, *, silent: bool = False) -> Evidence:
    """The run of a target that answers 50 calls of each operation a second, and takes so much CPU time for each."""
    cost = OperationCost(50.0, 20.0, cpu_ms, 100)
    costs = dict.fromkeys(evidence.plan.target.mix, cost)
    if silent:
        costs[min(costs)] = OperationCost(0.1, 10_000.0, 0.0, 0)
    capacity = Capacity(costs, 50.0, 1.0, 9.0)
    return replace(evidence, plan=replace(evidence.plan, capacity=capacity))


@pytest.mark.parametrize(
    ("written", "cpu_ms", "others", "verdict"),
    [
        (2.0, 40.0, 0.1, FAIL),  # 50 calls/s of 40 ms are two CPUs, as is written,
        (2.0, 20.0, 0.1, INCONCLUSIVE),  # and of 20 ms only one, of which others took a fifth.
        (1.0, 40.0, 0.1, FAIL),  # What is written somewhere else excuses nothing here.
        (1.0, 80.0, 0.1, FAIL),  # It cannot use more CPUs than the machine has,
        (1.0, 80.0, 0.15, INCONCLUSIVE),
        (1.0, 0.0, 0.1, INCONCLUSIVE),  # Where its CPU time was not measured, what is written counts.
        (2.0, 0.0, 0.1, FAIL),
    ],
)
def test_what_the_target_can_use_is_what_this_run_measured(
    written: float, cpu_ms: float, others: float, verdict: object
) -> None:
    late = make(LATE)
    plan = replace(late.plan, target=replace(late.plan.target, capacity_cpu_cores=written))
    run = on_a_machine(measured(replace(late, plan=plan), cpu_ms), others)
    assert recovery(run).verdict is verdict


def test_an_operation_that_never_answered_says_nothing_of_the_cpus() -> None:
    run = measured(make(LATE), 20.0, silent=True)
    capacity, mix = run.plan.capacity, run.plan.target.mix
    assert capacity is not None
    assert capacity.cpus_used(mix) == pytest.approx(1.0)
    assert capacity.cpus_used({min(mix): 100.0}) is capacity.cpus_used({"unknown": 1.0}) is None


def test_a_neighbour_at_another_time_excuses_nothing() -> None:
    late = make(LATE)
    healed = late.journal.last("fault_healed", fault="f1-kill")
    assert healed is not None
    assert recovery(on_a_machine(late, 0.9, to_ms=healed.at_ms - 10_000)).verdict is FAIL
    assert recovery(on_a_machine(late, 0.9, from_ms=healed.at_ms + 45_000)).verdict is FAIL
    assert recovery(on_a_machine(late, 0.9, from_ms=healed.at_ms - 5000)).verdict is INCONCLUSIVE


def test_a_run_that_did_not_read_the_loads_cpu_time_is_judged_as_before() -> None:
    assert recovery(on_a_machine(make(LATE), 0.9, load=False)).verdict is FAIL


def test_a_recovery_that_never_came_fails_beside_a_small_neighbour() -> None:
    never = make(Recipe(faults=("kill",), recovers_s={"f1-kill": 1e6}))
    assert recovery(on_a_machine(never, 0.2)).verdict is FAIL
    assert recovery(on_a_machine(never, 0.5)).verdict is INCONCLUSIVE


def slow(evidence: Evidence, from_ms: float, to_ms: float, ms: float = SLOW_MS) -> Evidence:
    rows = [
        replace(r, done_ms=r.done_ms + ms) if r.done_ms and from_ms <= r.scheduled_ms < to_ms else r
        for r in evidence.samples.requests
    ]
    return resampled(evidence, requests=rows)


def latency(evidence: Evidence) -> Any:
    return found(judge(evidence), "latency", "steady")


def test_a_slow_target_fails_on_a_quiet_machine_and_not_beside_a_neighbour() -> None:
    late = slow(make(Recipe(faults=("latency",))), 0, float("inf"))
    assert latency(on_a_machine(late, 0.0)).verdict is latency(on_a_machine(late, 0.1)).verdict is FAIL
    finding = latency(on_a_machine(late, 0.4))
    assert (finding.verdict, finding.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert "the machine was starved" in finding.reason
    assert finding.ci == latency(late).ci, "what was measured is shown as it was"


def test_only_what_was_late_beside_the_neighbour_is_excused() -> None:
    """Half of the steady load is late. A neighbour at that time excuses it, and one at another time does not."""
    whole = make(Recipe(faults=("latency",), baseline_s=400.0))
    half = slow(whole, 60_000, 260_000)
    assert latency(on_a_machine(half, 0.0)).verdict is FAIL
    assert latency(on_a_machine(half, 0.6, from_ms=50_000, to_ms=270_000)).verdict is INCONCLUSIVE
    assert latency(on_a_machine(half, 0.6, from_ms=280_000)).verdict is FAIL


def test_a_failed_request_is_late_unless_everything_was_taken() -> None:
    broken = failing(make(Recipe(faults=("latency",))), 0, float("inf"), every=5)
    assert latency(on_a_machine(broken, 0.3)).verdict is FAIL
    judgement = judge(on_a_machine(broken, 0.6))
    assert found(judgement, "latency", "steady").verdict is INCONCLUSIVE
    assert found(judgement, "errors", "steady").verdict is FAIL, "an error is no matter of time"


def given_up(
    evidence: Evidence, message: str = "1050 request timeout", done_ms: float | None = None
) -> Evidence:
    """The same run in which every fifth request of the load ended with this message, by default at its time limit."""
    rows = [
        replace(
            r,
            ok=False,
            layer=Layer.TRANSPORT,
            message=message,
            done_ms=None if done_ms is None else r.scheduled_ms + done_ms,
        )
        if number % 5 == 0
        else r
        for number, r in enumerate(evidence.samples.requests)
    ]
    return resampled(evidence, requests=rows)


def errors(evidence: Evidence) -> Any:
    return found(judge(evidence), "errors", "steady")


def test_a_request_that_was_given_up_on_a_starved_machine_is_no_proof_of_an_error() -> None:
    hanging = given_up(make(Recipe(faults=("latency",))))
    assert errors(hanging).verdict is errors(on_a_machine(hanging, 0.0)).verdict is FAIL
    # Six tenths of the time went to others. The target had four tenths of the time limit, and gave no answer.
    assert errors(on_a_machine(hanging, 0.3)).verdict is FAIL
    finding = errors(on_a_machine(hanging, 0.6))
    assert (finding.verdict, finding.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert "the machine was starved: all else took 60% of its CPU" in finding.reason
    assert finding.ci == errors(hanging).ci, "what was measured is shown as it was"


def test_an_error_that_came_late_may_be_the_starved_targets_own_time_limit() -> None:
    slow_error = given_up(make(Recipe(faults=("latency",))), "the store did not answer", done_ms=4500.0)
    assert errors(on_a_machine(slow_error, 0.3)).verdict is FAIL
    assert errors(on_a_machine(slow_error, 0.6)).verdict is INCONCLUSIVE


@pytest.mark.parametrize("done_ms", [None, 5.0])
def test_an_error_at_once_is_the_targets_on_any_machine(done_ms: float | None) -> None:
    refused = given_up(make(Recipe(faults=("latency",))), "1212 connection refused", done_ms)
    assert errors(on_a_machine(refused, 0.9)).verdict is FAIL


def test_a_failure_that_is_excused_never_leaves_the_gate() -> None:
    decision = Decision("recovery", "f1-kill", decidable=False, reason="too short")
    late = make(replace(LATE, decisions=(decision,)))
    assert recovery(on_a_machine(late, 0.0)).gate_verdict is FAIL
    assert recovery(on_a_machine(late, 0.5)).gate_verdict is INCONCLUSIVE


RUNS = (make(LATE), make(Recipe(faults=("kill",))), slow(make(LATE), 0, float("inf")))


@given(st.sampled_from(RUNS), st.floats(0, 0.9), st.none() | st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_a_neighbour_only_makes_failures_undecided(
    run: Evidence, others: float, waiting: float | None
) -> None:
    before = {(f.check, f.subject): f for f in judge(run).findings}
    for finding in judge(on_a_machine(run, others, waiting)).findings:
        old = before[finding.check, finding.subject]
        for was, now in ((old.verdict, finding.verdict), (old.gate_verdict, finding.gate_verdict)):
            assert now is was or (was, now) == (FAIL, INCONCLUSIVE), finding


def test_the_pressure_of_each_window_stands_in_the_report() -> None:
    phases: Any = judge(on_a_machine(make(LATE), 0.5, 0.3)).tables["phases"]
    assert [round(phase["others_cpu_share"], 2) for phase in phases] == [0.5] * len(phases)
    assert [round(phase["cpu_waiting_share"], 2) for phase in phases] == [0.3] * len(phases)
    unknown: Any = judge(make(LATE)).tables["phases"]
    assert {phase["others_cpu_share"] for phase in unknown} == {None}
    evidence = on_a_machine(make(LATE), 0.5, None)
    assert share_waiting(evidence, 0, 1e9) is None
    assert share_of_others(evidence, 0, 1e9) == pytest.approx(0.5)


def test_times_are_shortened_by_what_was_taken_while_they_passed() -> None:
    starved = Starvation(np.array([0.0, 1000.0, 2000.0]), np.array([0.0, 500.0, 1500.0]))
    assert starved.shortened(0.0, 1000.0) == 500.0
    assert starved.shortened(500.0, 1000.0) == 250.0
    assert starved.shortened(2000.0, 1000.0) == starved.shortened(-1000.0, 1000.0) == 1000.0
    assert starved.shortened(np.array([0.0, 1000.0]), np.array([np.inf, np.inf])).tolist() == [np.inf, 0.0]
    assert starvation(make(LATE), 0, 1e6) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (
            "some avg10=45.21 avg60=27.39 avg300=17.52 total=6986252291\nfull avg10=0.00 total=0\n",
            6986.252291,
        ),
        ("full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", None),
        ("some avg10=0.00 total=x\n", None),
        (None, None),
    ],
)
def test_the_pressure_is_read_where_the_kernel_has_it(
    text: str | None, seconds: float | None, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "cpu").write_text(text, encoding="ascii")
    assert kernel.cpu_waiting_s(tmp_path / "cpu") == seconds


def test_what_a_restarted_container_used_since_is_no_neighbours() -> None:
    """Its counter begins at 0 again. To start takes much CPU time: here all of it, for ten seconds."""
    late = make(LATE)
    healed = late.journal.last("fault_healed", fault="f1-kill")
    assert healed is not None
    ticks = np.arange(healed.at_ms - 20_000, healed.at_ms + 45_000, 5000.0)
    started = ticks >= healed.at_ms
    used_s = np.where(started, CPUS * np.minimum(10.0, (ticks - healed.at_ms) / 1000 + 5.0), 100.0)
    idle_s = CPUS * np.concatenate(([0.0], np.cumsum(np.diff(np.minimum(ticks, healed.at_ms - 5000)) / 1000)))
    idle_s += CPUS * np.maximum(0.0, (ticks - healed.at_ms - 5000) / 1000)
    series = {
        "mcp_cpu_s": used_s,
        "lab_cpu_s": 0 * used_s,
        "load_cpu_s": 0 * used_s,
        "host_cpu_idle_s": idle_s,
    }
    rows = [
        HostReading(float(at), metric, float(value))
        for metric, values in series.items()
        for at, value in zip(ticks, values, strict=True)
    ]
    alone = resampled(late, host=rows)
    assert share_of_others(alone, healed.at_ms - 5000, healed.at_ms + 10_000) == pytest.approx(0.0)
    assert recovery(alone).verdict is FAIL


def test_an_idle_time_that_goes_back_a_little_hides_no_neighbour() -> None:
    beside = on_a_machine(make(LATE), 0.5)
    corrected = [
        replace(row, value=row.value - 0.01 * (number % 2)) if row.metric == "host_cpu_idle_s" else row
        for number, row in enumerate(beside.samples.host)
    ]
    held = [
        replace(row, value=77.0 - 0.01 * number) if row.metric == "host_cpu_idle_s" else row
        for number, row in enumerate(beside.samples.host)
    ]
    assert recovery(resampled(beside, host=corrected)).verdict is INCONCLUSIVE
    assert recovery(resampled(beside, host=held)).verdict is INCONCLUSIVE
