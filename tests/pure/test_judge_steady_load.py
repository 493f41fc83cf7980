"""What counts as the load of the steady phases: how late each request was at most and at least, and which failed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from lab.judge.windows.incidents import Incident
from lab.judge.windows.steady_load import (
    SteadyLoad,
    failures,
    in_order,
    judged_load,
    judged_steady,
    latencies,
    latency_ms,
    least_latencies,
    steady_load,
    succeeded,
    tally,
    unsettled,
    waited_ms,
)
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.samples import REQUEST_TIMEOUT, Layer, Request
from lab.model.target import KnownIssue
from lab.model.verdict import Finding, KnownIssueCount, Verdict, undecided
from tests.pure.evidence_factory import Recipe, make, resampled

INF = float("inf")
ISSUE = KnownIssue(
    "busy", "errors", "search", "payload", "too busy", "0.1.0", "a queue", "2026-11-01", ("kill",)
)
BASELINE = Window("baseline", "steady", 21_000.0, 31_000.0)

RIGHT = Request(1000.0, 1010.0, 1050.0, "search", True, Layer.OK, "", "0001")
EARLY = replace(RIGHT, sent_ms=990.0)
WRONG = replace(RIGHT, ok=False, layer=Layer.PAYLOAD, message="too busy")
UNSENT = replace(RIGHT, sent_ms=None, done_ms=None, ok=False, layer=Layer.UNSENT)
LOST = replace(RIGHT, done_ms=None, ok=False, layer=Layer.LOST)
UNDATED = replace(RIGHT, sent_ms=None)
# A row that claims success and has no answer.
ENDLESS = replace(RIGHT, done_ms=None)
ALL = (RIGHT, EARLY, WRONG, UNSENT, LOST, UNDATED, ENDLESS)


def test_the_latency_counts_from_the_time_when_a_request_was_due() -> None:
    assert [latency_ms(request) for request in ALL] == [50.0, 60.0, INF, INF, INF, 50.0, INF]
    assert latencies(ALL).tolist() == [50.0, 60.0, INF, INF, INF, 50.0, INF]
    assert latencies(ALL).dtype == np.float64


def test_the_least_latency_leaves_out_the_delay_of_the_generator() -> None:
    # Nothing is known of a request that was never sent or got lost, so it may have been quick.
    assert least_latencies(ALL).tolist() == [40.0, 60.0, INF, 0.0, 0.0, 50.0, INF]


def test_a_request_of_which_nothing_is_known_failed_only_if_that_is_assumed() -> None:
    assert [succeeded(request) for request in ALL] == [True, True, False, False, False, True, False]
    assert [unsettled(request) for request in ALL] == [False, False, False, True, True, False, False]
    assert failures(ALL, unknown=True).tolist() == [False, False, True, True, True, False, True]
    assert failures(ALL, unknown=False).tolist() == [False, False, True, False, False, False, True]
    assert not unsettled(replace(UNSENT, ok=True))
    assert failures([], unknown=True).dtype == np.bool_


def test_a_request_waited_until_its_answer_or_until_it_was_given_up() -> None:
    given_up = replace(WRONG, done_ms=None, layer=Layer.TRANSPORT, message=f"{REQUEST_TIMEOUT} after 10 s")
    refused = replace(given_up, message=f"no {REQUEST_TIMEOUT}")
    assert waited_ms([RIGHT, WRONG, given_up, refused, UNSENT], 10_000.0).tolist() == [50, 50, 10_000, 0, 0]


def test_the_tally_in_words() -> None:
    assert tally(ALL, 3, 50.0) == "3 late, 2 failed, 5 that the generator could not send or lost of 10"
    assert tally(ALL, 3, 50.1) == "1 late, 2 failed, 5 that the generator could not send or lost of 10"
    assert tally([RIGHT, WRONG], 0, 60.0) == "0 late, 1 failed of 2"
    assert tally([RIGHT], 1, 60.0) == "0 late, 0 failed, 1 that the generator could not send or lost of 2"
    assert tally([UNSENT], 0, 60.0) == "0 late, 0 failed, 1 that the generator could not send or lost of 1"


def test_requests_of_one_time_are_ordered_by_what_they_say() -> None:
    rows = [
        replace(RIGHT, scheduled_ms=999.0, source="0009"),
        replace(RIGHT, done_ms=None),
        replace(RIGHT, message="a"),
        replace(RIGHT, message="b"),
        replace(RIGHT, done_ms=1060.0),
        replace(WRONG, message=""),
        replace(RIGHT, op="status", message=""),
        replace(RIGHT, source="0002", op="add"),
    ]
    assert in_order(rows[::-1]) == rows
    assert in_order(rows[3:] + rows[:3]) == rows
    distinct = [replace(RIGHT, scheduled_ms=ms) for ms in (1.0, 2.0, 3.0)]
    assert in_order(distinct) == distinct
    assert in_order([distinct[0], distinct[2], distinct[1]]) == distinct
    assert in_order([]) == []
    # One without an answer comes before every other.
    begun = replace(RIGHT, scheduled_ms=0.0, sent_ms=0.0, done_ms=0.5)
    assert in_order([begun, replace(begun, done_ms=None)]) == [replace(begun, done_ms=None), begun]


@cache
def run() -> Evidence:
    return make(Recipe(faults=(), baseline_s=20.0, clean_s=0, known_issues=(ISSUE,)))


def windows(*incidents: Incident, steady: tuple[Window, ...] = (BASELINE,)) -> Windows:
    present = ((0.0, frozenset[str]()), (25_000.0, frozenset({"kill"})))
    return Windows(steady, steady, (), 0.0, 60_000.0, incidents=incidents, kinds=present)


def busy(evidence: Evidence) -> Evidence:
    """The target says from 24 s to 26 s that it is too busy; a kill is in force from 25 s on."""
    rows = [
        replace(r, op="search", ok=False, layer=Layer.PAYLOAD, message="too busy")
        if 24_000 <= r.scheduled_ms < 26_000
        else r
        for r in evidence.samples.requests
    ]
    return resampled(evidence, requests=rows)


def test_the_steady_load_is_what_was_due_in_its_windows_with_what_explains_it() -> None:
    load = steady_load(busy(run()), windows(), "errors", [BASELINE])
    assert [r.scheduled_ms for r in load.requests] == [21_000 + 250 * n for n in range(40)]
    assert load.issues == tuple("busy" if 16 <= n < 20 else None for n in range(40))
    assert load.missing == 0
    assert load.evidence == ("samples:requests[21000..31000ms]",)
    assert load.counts() == (KnownIssueCount("busy", 4),)
    assert load.unexplained() == tuple(
        r for r, issue in zip(load.requests, load.issues, strict=True) if not issue
    )
    assert len(load.unexplained()) == 36
    assert set(steady_load(busy(run()), windows(), "latency", [BASELINE]).issues) == {None}


def test_requests_without_a_row_are_missing() -> None:
    kept = [r for r in run().samples.requests if not 24_000 <= r.scheduled_ms < 26_000]
    load = steady_load(resampled(run(), requests=kept), windows(), "errors", [BASELINE])
    # 40 were due, or 39 where the begin of the window falls between two.
    assert (len(load.requests), load.missing) == (32, 7)


def judge(load: SteadyLoad) -> Finding:
    verdict = Verdict.PASS if len(load.requests) >= 30 else Verdict.INCONCLUSIVE
    return Finding(
        "errors", "steady", verdict, verdict, "as counted", n=len(load.requests), evidence=load.evidence
    )


def test_the_load_of_all_steady_windows_is_judged_together() -> None:
    later = replace(BASELINE, from_ms=35_000.0, to_ms=36_000.0)
    (finding,) = judged_load(run(), windows(steady=(BASELINE, later)), "errors", judge)
    assert (finding.n, finding.verdict, finding.reason) == (44, Verdict.PASS, "as counted")
    (none,) = judged_load(resampled(run(), requests=()), windows(), "errors", judge)
    assert none == undecided(
        "errors",
        "steady",
        "no request was due in a steady phase",
        evidence=("samples:requests[21000..31000ms]",),
    )


def at(from_ms: float, to_ms: float, why: str, *, recorded: bool, streams: str = "requests") -> Incident:
    event = Event(7, "run", from_ms, "", "lab_stalled", {}) if recorded else None
    return Incident(from_ms, to_ms, frozenset({streams}), why, event)


def test_a_silence_is_left_out_and_another_incident_is_judged_with_and_without() -> None:
    judged: list[list[tuple[float, float]]] = []

    def find(spans: Sequence[Window]) -> Finding:
        judged.append([(span.from_ms, span.to_ms) for span in spans])
        return undecided("errors", "steady", "as counted")

    silence = at(22_000.0, 23_234.0, "no load request was due", recorded=False)
    stall = at(25_000.0, 26_000.0, "the lab stood still", recorded=True)
    elsewhere = at(40_000.0, 41_000.0, "the lab stood still", recorded=True)
    probes = at(25_000.0, 26_000.0, "the lab stood still", recorded=True, streams="probes")
    left = [(21_000.0, 22_000.0), (23_234.0, 31_000.0)]

    finding = judged_steady(windows(elsewhere, probes), find)
    assert (judged, finding.reason) == ([[(21_000.0, 31_000.0)]], "as counted")
    judged.clear()
    finding = judged_steady(windows(silence), find)
    assert judged == [left]
    assert finding.reason == "as counted; left out are 1.23 s in which no load request was due"
    judged.clear()
    finding = judged_steady(windows(silence, stall), find)
    assert judged == [left, [left[0], (23_234.0, 25_000.0), (26_000.0, 31_000.0)]]
    touched = "left out is what an incident touched: the lab stood still (journal:7)"
    assert finding.reason == f"as counted; {touched}; left out are 1.23 s in which no load request was due"


@pytest.mark.parametrize("known", [0, 1])
def test_an_explained_request_is_not_among_the_unexplained(known: int) -> None:
    load = SteadyLoad((RIGHT, WRONG), (None, "busy" if known else None), 0, ())
    assert load.unexplained() == ((RIGHT,) if known else (RIGHT, WRONG))
    # Without an entry for each request nothing is said, because failures would get lost.
    with pytest.raises(ValueError, match="zip"):
        replace(load, issues=()).unexplained()
