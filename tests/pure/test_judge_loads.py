"""The judge holds each chunk of load against the profile of the step in which it ran."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from lab.judge import judge
from lab.judge.tables.gaps import describe
from lab.judge.windows.timeline import find_windows
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.load import ConstantArrivalRate
from lab.model.plan import STEADY
from lab.model.verdict import Finding, Verdict
from tests.pure.evidence_factory import LOAD, Recipe, edited, make, resampled

FASTER = replace(LOAD, name="stress", schedule=ConstantArrivalRate(40.0))


@cache
def healthy() -> Evidence:
    return make(Recipe(faults=("latency",), warm_up_s=5, baseline_s=100, clean_s=20))


def finding(evidence: Evidence, subject: str) -> Finding:
    return next(f for f in judge(evidence).findings if (f.check, f.subject) == ("load_arrived", subject))


def chunks_edited(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Evidence:
    """The healthy run, with what its journal says of each chunk that started changed."""

    def edit(event: Event) -> Event:
        if event.kind != "load_chunk_started":
            return event
        return replace(event, data=change(dict(event.data)))

    return edited(healthy(), edit)


def as_before(data: dict[str, Any], rate_per_s: float = 4.0) -> dict[str, Any]:
    """The event as the lab wrote it before loads had profiles."""
    kept = {key: data[key] for key in ("chunk", "scheduled_start_ms", "duration_ms")}
    return {**kept, "rate_per_s": rate_per_s}


def with_loads(evidence: Evidence, **loads: Any) -> Evidence:
    """The evidence of a plan whose steps of these kinds or names have another load."""
    steps = tuple(
        replace(step, load=loads.get(step.name.replace("-", "_"), loads.get(step.kind, step.load)))
        for step in evidence.plan.steps
    )
    return replace(evidence, plan=replace(evidence.plan, steps=steps))


def test_chunks_that_delivered_no_request_are_undecided() -> None:
    """k6 could not be started: its chunk has a recorded end, and there is no row."""
    evidence = resampled(chunks_edited(lambda data: {**data, "rows": 0}), requests=())
    found = finding(evidence, "chunks")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "no request at all" in found.reason


def test_chunks_of_the_planned_load_pass() -> None:
    assert finding(healthy(), "chunks").verdict is Verdict.PASS


@pytest.mark.parametrize(
    "other",
    [
        {"profile": "stress"},
        {"script": "storm.js"},
        {"due": 2400},
        {"due": 120},
        {"due": 241},
        {"duration_ms": 6000},
    ],
)
def test_a_chunk_that_ran_another_load_than_planned_decides_nothing(other: dict[str, Any]) -> None:
    found = finding(chunks_edited(lambda data: {**data, **other}), "chunks")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "ran another load than planned" in found.reason


def test_older_journals_name_a_rate_and_are_held_to_it() -> None:
    assert finding(chunks_edited(as_before), "chunks").verdict is Verdict.PASS
    other = finding(chunks_edited(lambda data: as_before(data, 5.0)), "chunks")
    assert (other.verdict, "another rate" in other.reason) == (Verdict.INCONCLUSIVE, True)


def test_a_chunk_in_a_step_with_another_load_decides_nothing() -> None:
    found = finding(with_loads(healthy(), clean_1=FASTER), "chunks")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "in a step with another load" in found.reason


def test_each_window_is_held_to_the_load_of_its_own_step() -> None:
    found = finding(with_loads(healthy(), fault=FASTER), "f1-latency")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert finding(with_loads(healthy(), fault=FASTER), "steady").verdict is Verdict.PASS


def test_a_step_without_load_is_not_tested_and_has_no_gap() -> None:
    calm = with_loads(healthy(), fault=None)
    assert finding(calm, "f1-latency").verdict is Verdict.NOT_TESTED
    silent = with_loads(healthy(), **{STEADY: None})
    assert finding(silent, "steady").verdict is Verdict.NOT_TESTED


def test_a_silence_is_a_gap_by_the_load_of_its_own_step() -> None:
    windows = find_windows(healthy())
    (span,) = [window for window in windows.phases if window.name == "f1-latency"]
    kept = [r for r in healthy().samples.requests if not span.holds(r.scheduled_ms)]
    silent = resampled(healthy(), requests=kept)
    why = [gap["why"] for gap in describe(silent, find_windows(silent), ())]
    assert "no load request was due" in why
    calm = with_loads(resampled(healthy(), requests=kept), fault=None)
    assert "no load request was due" not in [gap["why"] for gap in describe(calm, find_windows(calm), ())]


def test_a_request_id_that_occurs_twice_decides_nothing() -> None:
    first, second, *rest = healthy().samples.requests
    found = finding(resampled(healthy(), requests=(first, replace(second, id=first.id), *rest)), "chunks")
    assert (found.verdict, "occur twice" in found.reason) == (Verdict.INCONCLUSIVE, True)


def test_a_request_without_an_id_among_others_decides_nothing() -> None:
    first, *rest = healthy().samples.requests
    found = finding(resampled(healthy(), requests=(replace(first, id=None), *rest)), "chunks")
    assert (found.verdict, "1 requests have no id" in found.reason) == (Verdict.INCONCLUSIVE, True)


def test_requests_of_a_run_from_before_have_no_ids() -> None:
    older = resampled(healthy(), requests=[replace(r, id=None) for r in healthy().samples.requests])
    assert finding(older, "chunks").verdict is Verdict.PASS
