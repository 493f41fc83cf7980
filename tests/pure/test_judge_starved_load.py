"""Errors and latency on a machine of which others took a part: what may have been in time proves nothing."""

import math
from dataclasses import replace

import pytest

from lab.judge.checks import errors, latency
from lab.model.samples import HostReading, Request
from lab.model.verdict import Verdict
from tests.pure.evidence_factory import STATUS_ISSUES
from tests.pure.test_judge_errors_and_latency import broken, failed, judged, load, took, unsent

FAIL, INCONCLUSIVE = Verdict.FAIL, Verdict.INCONCLUSIVE


def machine(others: float, until_ms: float = math.inf) -> list[HostReading]:
    """Two CPUs, of which others take a share until a time, and somebody always waits for one."""
    ticks = [5000.0 * n for n in range(56)]
    idle_s = [(min(at, until_ms) * 2 * (1 - others) + 2 * max(0.0, at - until_ms)) / 1000 for at in ticks]
    waiting_s = [min(at, until_ms) / 1000 for at in ticks]
    rows = [HostReading(at, "host_cpu_idle_s", idle) for at, idle in zip(ticks, idle_s, strict=True)]
    rows += [HostReading(at, "host_cpu_waiting_s", s) for at, s in zip(ticks, waiting_s, strict=True)]
    return rows + [HostReading(at, "load_cpu_s", 0.0) for at in ticks]


def test_a_late_load_fails_on_a_quiet_machine_and_is_excused_beside_neighbours() -> None:
    """Others that take 20 % of the machine may double what a request takes: 250 ms may have been 150."""
    slow = load(lambda r: took(r, 250.0), every=5)
    for quiet in ((), machine(0.0), machine(0.04)):
        finding = judged(latency.findings, slow, host=quiet)
        assert (finding.verdict, finding.gate_verdict) == (FAIL, FAIL)
    finding = judged(latency.findings, slow, host=machine(0.2))
    assert (finding.verdict, finding.gate_verdict, finding.fail_touched) == (INCONCLUSIVE, INCONCLUSIVE, True)
    assert finding.reason.endswith(
        "; the machine was starved: all else took 20% of its CPU, and without them it may have been in time"
    )


def test_the_share_that_others_took_is_that_until_the_last_request_must_have_been_answered() -> None:
    """They took 20 % until second 230 of the 261 up to the end of the last request's time limit."""
    slow = load(lambda r: took(r, 250.0), every=5)
    finding = judged(latency.findings, slow, host=machine(0.2, until_ms=230_000.0))
    assert finding.verdict is INCONCLUSIVE
    assert "all else took 18% of its CPU" in finding.reason


def test_requests_without_a_row_may_have_been_in_time_on_a_starved_machine_too() -> None:
    """The 7 % that were late all the same are surely more than 5 % of 900, and not of the 999 that were due."""

    def change(r: Request) -> Request:
        n = round((r.scheduled_ms - 1000) / 250) % 100
        return took(r, 1000.0) if n % 14 == 0 and n < 98 else took(r, 250.0) if n % 5 == 1 else r

    finding = judged(latency.findings, load(change, n=900), host=machine(0.2))
    assert (finding.verdict, finding.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert "the machine was starved" in finding.reason


def test_a_load_that_failed_in_known_ways_alone_is_judged_on_a_starved_machine_too() -> None:
    finding = judged(latency.findings, load(broken), STATUS_ISSUES, host=machine(0.2))
    assert (finding.verdict, finding.gate_verdict, finding.fail_touched) == (FAIL, INCONCLUSIVE, False)
    slow = load(lambda r: took(replace(r, op="status"), 250.0), every=2)
    mixed = [broken(r) if n % 2 else r for n, r in enumerate(slow)]
    finding = judged(latency.findings, mixed, STATUS_ISSUES, host=machine(0.2))
    assert (finding.verdict, finding.gate_verdict, finding.fail_touched) == (FAIL, INCONCLUSIVE, True)


@pytest.mark.parametrize(
    ("ended_ms", "verdict"),
    [(199.0, FAIL), (200.0, INCONCLUSIVE), (399.0, INCONCLUSIVE), (400.0, FAIL), (401.0, FAIL)],
)
def test_an_error_that_would_have_come_in_time_without_the_others_proves_nothing(
    ended_ms: float, verdict: Verdict
) -> None:
    """Others that take a quarter of the machine may double every time; an answer may take less than 200 ms."""

    def late(r: Request) -> Request:
        return took(failed(r, "the store did not answer"), ended_ms)

    beside = judged(errors.findings, load(late, every=5), host=machine(0.25))
    assert (beside.verdict, beside.gate_verdict) == (verdict, verdict)
    assert beside.fail_touched is (verdict is INCONCLUSIVE)
    for quiet in ((), machine(0.0)):
        assert judged(errors.findings, load(late, every=5), host=quiet).verdict is FAIL
    assert (beside.observed, beside.n) == (0.2, 1000)


def test_the_others_share_is_told_and_errors_at_once_stand() -> None:
    def late(r: Request) -> Request:
        return took(failed(r), 300.0)

    finding = judged(errors.findings, load(late, every=5), host=machine(0.25, until_ms=230_000.0))
    assert finding.verdict is INCONCLUSIVE
    assert finding.reason.endswith(
        "; the machine was starved: all else took 22% of its CPU, and without them it may have been in time"
    )
    mixed = [failed(r) if n % 5 == 1 else r for n, r in enumerate(load(late, every=5))]
    assert judged(errors.findings, mixed, host=machine(0.25)).verdict is FAIL
    faster = {"latency_p95_ms": 100.0}
    assert judged(errors.findings, load(late, every=5), (), faster, machine(0.25)).verdict is FAIL


def test_a_request_that_was_given_up_had_its_whole_time_limit() -> None:
    """Of 10 s, the target had 5, or nothing where others took half of the machine."""

    def given_up(r: Request) -> Request:
        return replace(failed(r, "1050 request timeout"), done_ms=None)

    assert judged(errors.findings, load(given_up, every=5), host=machine(0.25)).verdict is FAIL
    assert judged(errors.findings, load(given_up, every=5), host=machine(0.5)).verdict is INCONCLUSIVE


def test_the_gate_is_excused_by_the_requests_that_no_issue_explains() -> None:
    late = [took(broken(r), 300.0) if n % 5 else took(failed(r), 300.0) for n, r in enumerate(load())]
    finding = judged(errors.findings, late, STATUS_ISSUES, host=machine(0.25))
    assert (finding.verdict, finding.gate_verdict, finding.fail_touched) == (INCONCLUSIVE, INCONCLUSIVE, True)
    known = [took(r, 300.0) for r in load(broken)]
    finding = judged(errors.findings, known, STATUS_ISSUES, host=machine(0.25))
    assert (finding.verdict, finding.gate_verdict, finding.fail_touched) == (
        INCONCLUSIVE,
        INCONCLUSIVE,
        False,
    )
    # The known failures may be excused, and the others not.
    mixed = [broken(r) if n % 2 else took(failed(r), 300.0) for n, r in enumerate(load())]
    finding = judged(errors.findings, mixed, STATUS_ISSUES, host=machine(0.25))
    assert (finding.verdict, finding.gate_verdict, finding.fail_touched) == (FAIL, INCONCLUSIVE, True)


def test_lost_requests_and_unsent_ones_count_beside_excused_errors_as_they_do_alone() -> None:
    """Of 900, 17 failed at once: surely more than 1 % of them, and not of the 999 that were due."""

    def change(r: Request) -> Request:
        n = round((r.scheduled_ms - 1000) / 250)
        return failed(r) if n % 50 == 11 and n > 11 else took(failed(r), 300.0) if n % 5 == 0 else r

    finding = judged(errors.findings, load(change, n=900), host=machine(0.25))
    assert (finding.verdict, finding.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert "the machine was starved" in finding.reason


def test_what_was_never_sent_is_no_sure_failure_beside_excused_errors() -> None:
    slow = load(lambda r: took(failed(r), 300.0), every=5)
    requests = [unsent(r) if n % 5 == 1 else r for n, r in enumerate(slow)]
    assert judged(errors.findings, requests).verdict is FAIL
    finding = judged(errors.findings, requests, host=machine(0.25))
    assert (finding.verdict, finding.gate_verdict, finding.fail_touched) == (INCONCLUSIVE, INCONCLUSIVE, True)
