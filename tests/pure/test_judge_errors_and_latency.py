"""The checks of errors and latency, on loads of a few hundred requests whose verdict can be worked out by hand."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from lab.judge.checks import errors, latency
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import STEADY
from lab.model.samples import HostReading, Layer, Request, Rows, Samples
from lab.model.target import KnownIssue
from lab.model.verdict import Bound, Finding, Interval, KnownIssueCount, Verdict
from tests.pure.evidence_factory import STATUS_ISSUES, STATUS_MESSAGE, Recipe, make, target

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
PLAN = make(Recipe(faults=(), warm_up_s=5, baseline_s=10)).plan
DUE = 1000
Change = Callable[[Request], Request]


def request(n: int, op: str = "search") -> Request:
    """Due every 250 ms from 1 s on, as the plan has it, and answered after 40 ms."""
    at_ms = 1000 + 250.0 * n
    return Request(at_ms, at_ms, at_ms + 40, op, True, Layer.OK, "", "0000")


def failed(request: Request, message: str = "refused", op: str = "search") -> Request:
    return replace(request, ok=False, layer=Layer.PAYLOAD, message=message, op=op)


def unsent(request: Request) -> Request:
    return replace(request, sent_ms=None, done_ms=None, ok=False, layer=Layer.UNSENT)


def broken(request: Request) -> Request:
    """A failure that the known issues of `status` explain."""
    return failed(request, STATUS_MESSAGE, "status")


def took(request: Request, ms: float) -> Request:
    return replace(request, done_ms=request.scheduled_ms + ms)


def load(change: Change = lambda r: r, every: int = 1, n: int = DUE) -> list[Request]:
    return [change(request(k)) if k % every == 0 else request(k) for k in range(n)]


def judged(
    check: Callable[[Evidence, Windows], list[Finding]],
    requests: Sequence[Request],
    issues: tuple[KnownIssue, ...] = (),
    bounds: dict[str, float] | None = None,
    host: Sequence[HostReading] = (),
) -> Finding:
    """The finding about a steady phase in which 1000 requests were due."""
    steady = Window("baseline", STEADY, 1000.0, 1000.0 + 250 * DUE)
    plan = replace(PLAN, target=target(issues), bounds=bounds or {})
    began = Event(0, "run", 0.0, "", "run_started", {"host": {"cpus": 2}})
    samples = Samples(requests=Rows(requests), host=Rows(host))
    (finding,) = check(
        Evidence(plan, Journal((began,)), samples), Windows((steady,), (steady,), (), 0, steady.to_ms)
    )
    assert (finding.check, finding.subject) == (check.__module__.rpartition(".")[2], "steady")
    return finding


def test_a_load_without_a_failure_passes_with_its_exact_upper_end() -> None:
    finding = judged(errors.findings, load())
    assert (finding.verdict, finding.gate_verdict, finding.observed) == (PASS, PASS, 0.0)
    assert finding.ci is not None and finding.ci.lo == 0.0
    assert finding.ci.hi == pytest.approx(1 - 0.025 ** (1 / DUE))
    assert (finding.unit, finding.n, finding.bound) == ("share", DUE, Bound("<", 0.01))
    assert finding.evidence == ("samples:requests[1000..251000ms]",)
    assert finding.reason == "0 late, 0 failed of 1000 requests"


def test_the_gate_is_open_where_known_issues_leave_no_request() -> None:
    """Every request failed in a known way: nothing shows that anything works."""
    finding = judged(errors.findings, load(broken), STATUS_ISSUES)
    assert (finding.verdict, finding.gate_verdict) == (FAIL, INCONCLUSIVE)
    assert finding.known_issues == (KnownIssueCount("status-errors", DUE),)
    finding = judged(latency.findings, load(broken), STATUS_ISSUES)
    assert (finding.verdict, finding.gate_verdict) == (FAIL, INCONCLUSIVE)
    assert finding.reason == (
        "0 late, 1000 failed of 1000 requests; less than 5 % are allowed; without known issues: nothing"
    )
    assert finding.known_issues == (KnownIssueCount("status-latency", DUE),)


def test_known_failures_leave_the_gate_to_the_others() -> None:
    finding = judged(errors.findings, load(broken, every=5), STATUS_ISSUES)
    assert (finding.verdict, finding.gate_verdict, finding.observed) == (FAIL, PASS, 0.2)
    assert finding.reason == (
        f"0 late, 200 failed of 1000 requests (most often status, payload, 200 times: {STATUS_MESSAGE!r}); "
        "without known issues: 0 late, 0 failed of 800"
    )
    both = [failed(request(n)) if n % 5 == 1 else r for n, r in enumerate(load(broken, every=5))]
    finding = judged(errors.findings, both, STATUS_ISSUES)
    assert (finding.verdict, finding.gate_verdict) == (FAIL, FAIL)
    assert finding.reason.endswith(
        "(most often search, payload, 200 times: 'refused'); without known issues: 0 late, 200 failed of 800"
        " (most often search, payload, 200 times: 'refused')"
    )


def test_of_equally_frequent_failures_the_first_by_name_is_told_and_a_rarer_one_never_is() -> None:
    three = [
        failed(request(n), m, op) for n, (m, op) in enumerate([("b", "list"), ("a", "list"), ("a", "add")])
    ]
    assert "(most often add, payload, 1 times: 'a')" in judged(errors.findings, [*load()[3:], *three]).reason
    more = [*three, failed(request(3), "b", "list")]
    assert "(most often list, payload, 2 times: 'b')" in judged(errors.findings, [*load()[4:], *more]).reason


def test_of_a_long_message_the_first_120_characters_are_told() -> None:
    requests = [*load()[1:], failed(request(0), 119 * "x" + "yz")]
    assert f"1 times: {119 * 'x' + 'y'!r})" in judged(errors.findings, requests).reason


def test_what_was_never_sent_is_neither_a_failure_for_sure_nor_a_success() -> None:
    finding = judged(errors.findings, load(unsent, every=5))
    assert (finding.verdict, finding.gate_verdict, finding.observed) == (INCONCLUSIVE, INCONCLUSIVE, 0.2)
    assert finding.ci is not None and finding.ci.lo == 0.0 and 0.2 < finding.ci.hi < 0.3
    assert finding.reason == (
        "0 late, 0 failed, 200 that the generator could not send or lost of 1000 requests"
        " (most often search, unsent, 200 times: '')"
    )


def test_requests_without_a_row_widen_the_interval_of_verdict_and_gate() -> None:
    """Of 1000 slots, 999 are sure to be due, wherever the first one falls."""
    lost, due = load(n=900), DUE - 1
    finding = judged(errors.findings, lost)
    assert finding.ci is not None
    assert finding.ci.hi == pytest.approx((99 + 900 * (1 - 0.025 ** (1 / 900))) / due)
    assert (finding.verdict, finding.gate_verdict, finding.n) == (INCONCLUSIVE, INCONCLUSIVE, 900)
    issues = judged(errors.findings, load(broken, every=5, n=900), STATUS_ISSUES)
    assert (issues.verdict, issues.gate_verdict) == (FAIL, INCONCLUSIVE)
    assert issues.reason.endswith(
        "without known issues: 0 late, 0 failed, 99 that the generator could not send or lost of 819"
    )
    finding = judged(latency.findings, lost)
    assert (finding.verdict, finding.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert finding.ci is not None and finding.ci.hi == math.inf
    issues = judged(latency.findings, load(broken, every=5, n=900), STATUS_ISSUES)
    assert (issues.verdict, issues.gate_verdict) == (FAIL, INCONCLUSIVE)


def test_late_requests_are_told_by_the_bound_of_the_plan() -> None:
    requests = [took(r, 100.0) if n < 30 else r for n, r in enumerate(load())]
    bounds = {"error_rate": 0.5, "latency_p95_ms": 100.0}
    assert judged(errors.findings, requests, (), bounds).reason == "30 late, 0 failed of 1000 requests"
    assert judged(errors.findings, requests).reason == "0 late, 0 failed of 1000 requests"
    finding = judged(latency.findings, requests, (), bounds)
    assert finding.reason == "30 late, 0 failed of 1000 requests; less than 5 % are allowed"
    assert (finding.bound, finding.unit, finding.observed) == (Bound("<", 100.0), "ms (P95)", 40.0)
    assert (finding.n, finding.evidence) == (DUE, ("samples:requests[1000..251000ms]",))
    assert judged(errors.findings, load(failed, every=5), (), bounds).verdict is PASS


def test_p95_is_that_of_all_requests_and_the_gate_s_that_of_the_unexplained() -> None:
    """A tenth is broken in a known way, and a fifth of the others takes 150 ms."""

    def change(r: Request) -> Request:
        n = round((r.scheduled_ms - 1000) / 250)
        return broken(r) if n % 10 == 0 else took(r, 150.0) if n % 5 == 1 else r

    finding = judged(latency.findings, load(change), STATUS_ISSUES)
    assert (finding.verdict, finding.gate_verdict, finding.observed) == (FAIL, PASS, math.inf)
    assert finding.ci == Interval(math.inf, math.inf)
    assert finding.reason == (
        "0 late, 100 failed of 1000 requests; less than 5 % are allowed; without known issues: P95 150 ms, "
        "0 late, 0 failed of 900"
    )


def test_what_the_generator_sent_late_may_or_may_not_be_the_target_s() -> None:
    def late(r: Request) -> Request:
        return replace(r, sent_ms=r.scheduled_ms + 250, done_ms=r.scheduled_ms + 290)

    finding = judged(latency.findings, load(late, every=5))
    assert (finding.verdict, finding.observed, finding.ci) == (INCONCLUSIVE, 290.0, Interval(40.0, 290.0))
