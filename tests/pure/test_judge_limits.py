"""How long an answer may take after a fault, and how many right documents it needs: by what was usual before it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from lab.judge.windows.window import Window
from lab.judge.witnesses.limits import ANSWERS_MAX, Baseline, Limits
from lab.model.evidence import Evidence
from lab.model.journal import Journal
from lab.model.plan import BY_LOAD
from lab.model.samples import Layer, Request, Rows, Samples
from tests.pure.evidence_factory import Recipe, make

PLAN = make(Recipe(faults=(), baseline_s=5.0, clean_s=0.0)).plan
# The bound of the recall is 0.9.
STEADY = Window("baseline", "steady", 0.0, 1e6)


def took(*values_ms: float, op: str = "add", from_ms: float = 0.0) -> list[Request]:
    """Requests every second that took these times."""
    begins = (from_ms + 1000.0 * n for n in range(len(values_ms)))
    return [
        Request(at, at, at + ms, op, True, Layer.OK, "", "0")
        for at, ms in zip(begins, values_ms, strict=True)
    ]


def found(*hits: int, answered: bool = True) -> list[Request]:
    """Searches every second, answered in 10 ms, with so many of ten right documents."""
    layer = Layer.OK if answered else Layer.IS_ERROR
    return [
        Request(1000.0 * n, 1000.0 * n, 1000.0 * n + 10, "search", answered, layer, "", "0", hits=h, k=10)
        for n, h in enumerate(hits)
    ]


def limits(
    rows: Sequence[Request], at_ms: float = 1e6, steady: Sequence[Window] = (STEADY,), slo_ms: int = 200
) -> Limits:
    observer = replace(PLAN.observer, canary_slo_ms=float(slo_ms), witnesses=(BY_LOAD,))
    run = Evidence(replace(PLAN, observer=observer), Journal(()), Samples(requests=Rows(rows)))
    return Baseline.of(run, steady).limits_before(at_ms)


def test_without_a_baseline_the_slo_and_the_bound_of_the_recall_count() -> None:
    assert limits([]) == Limits(200.0, 0.9, {})
    assert limits([]).ms_of("add") == 200.0


def test_an_answer_may_take_one_and_a_half_times_the_slowest_of_a_short_baseline() -> None:
    answers = limits([*took(100.0, 500.0, 300.0, 200.0, 250.0), *took(*[90.0] * 9, op="list")])
    assert answers == Limits(200.0, 0.9, {"add": 750.0})
    assert (answers.ms_of("add"), answers.ms_of("list"), answers.ms_of("search")) == (750.0, 200.0, 200.0)


def test_of_a_hundred_answers_the_slowest_does_not_count() -> None:
    assert limits(took(9000.0, *[400.0] * 98)).slower == {"add": 13_500.0}
    assert limits(took(9000.0, *[400.0] * 99)).slower == {"add": 600.0}


def test_with_fewer_than_five_answers_the_slo_alone_counts() -> None:
    assert limits(took(*[500.0] * 4)).slower == {}
    assert limits(took(*[500.0] * 5)).slower == {"add": 750.0}


def test_a_limit_below_the_slo_is_the_slo() -> None:
    for slo_ms, slower in ((301, {}), (300, {}), (299, {"add": 300.0})):
        assert limits(took(*[200.0] * 5), slo_ms=slo_ms) == Limits(slo_ms, 0.9, slower)


def test_only_what_counts_as_sent_before_the_injection_is_usual() -> None:
    rows = took(*[300.0] * 5, *[900.0] * 5)
    assert limits(rows, at_ms=5000.0).slower == {"add": 450.0}
    assert limits(rows, at_ms=5000.1).slower == {"add": 1350.0}
    assert limits(rows, at_ms=4000.0).slower == {}


def test_an_answer_that_was_wrong_or_met_the_end_of_its_phase_is_not_usual() -> None:
    failed = [replace(row, ok=False, layer=Layer.PAYLOAD) for row in took(*[5000.0] * 5, op="list")]
    assert limits([*took(*[300.0] * 5), *failed]).slower == {"add": 450.0}
    # The last one is over exactly at the end of the phase, and may have met the fault.
    rows = took(*[300.0] * 5, 1000.0)
    assert limits(rows, steady=[replace(STEADY, to_ms=6000.0)]).slower == {"add": 450.0}
    assert limits(rows, steady=[replace(STEADY, to_ms=6000.1)]).slower == {"add": 1500.0}


def test_the_phases_are_read_in_order_of_time_however_they_come() -> None:
    early, late = replace(STEADY, to_ms=5000.0), replace(STEADY, from_ms=5000.0)
    rows = took(*[300.0] * 5, *[900.0] * 5)
    for phases in ((early, late), (late, early)):
        assert limits(rows, at_ms=5000.0, steady=phases).slower == {"add": 450.0}
        assert limits(rows, steady=phases).slower == {"add": 1350.0}


def test_of_very_many_answers_the_latest_count() -> None:
    assert ANSWERS_MAX == 10_000
    rows = [*took(*[9000.0] * 101), *took(*[300.0] * 9900, from_ms=200_000.0)]
    far = [replace(STEADY, to_ms=1e9)]
    # Of the first 101 answers, 100 are among the latest 10,000: just too few for the 99th percentile.
    assert limits(rows, at_ms=1e9, steady=far).slower == {"add": 450.0}
    later = [*rows[:101], *rows[102:]]
    assert limits(later, at_ms=1e9, steady=far).slower == {"add": 13_500.0}


def test_a_search_must_find_what_it_usually_found_and_never_more_than_the_bound() -> None:
    assert limits(found(10, 10, 10, 10, 10)).found_min == 0.9
    assert limits(found(10, 10, 7, 10, 10)).found_min == 0.7
    assert limits(found(10, 10, 7, 10)).found_min == 0.9
    # The first percentile of a hundred values is the smallest, and of 101 the one after it.
    assert limits(found(*[8] * 99, 3)).found_min == 0.3
    assert limits(found(*[8] * 100, 3)).found_min == 0.8
    assert limits(found(10, 10, 10, 10, 10, 2), at_ms=5000.0).found_min == 0.9


def test_an_error_found_no_documents_that_could_be_usual_and_another_call_none_at_all() -> None:
    failed = [replace(row, hits=None, k=None) for row in found(0, 0, 0, 0, 0, answered=False)]
    assert limits([*failed, *found(*[8] * 5)]).found_min == 0.8
    assert limits(failed).found_min == 0.9
    assert limits([*took(*[10.0] * 5), *found(10, 10, 10, 10, 8)]).found_min == 0.8


@pytest.mark.parametrize(
    ("slower", "words"),
    [
        ({}, ""),
        ({"add": 750.4}, "in time means within 200 ms or, as before the fault, add 750 ms"),
        (
            {"search": 300.0, "add": 750.0},
            "in time means within 200 ms or, as before the fault, add 750 ms, search 300 ms",
        ),
    ],
)
def test_the_limits_above_the_slo_are_named(slower: dict[str, float], words: str) -> None:
    assert Limits(200.0, 0.9, slower).in_words() == words
