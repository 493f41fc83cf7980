"""How much load the plan promised in a window, which chunks belong to it, and which truth queries count as asked."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from lab.judge.windows.answers import Pool, answered, asked_between, asked_in, by_query, tables
from lab.judge.windows.planned_load import chunks_in_other_steps, due_at_least, is_planned, load_in
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.load import ConstantArrivalRate
from lab.model.plan import BY_CANARY, BY_LOAD, FAULT, Plan, PlannedFault, Step
from lab.model.samples import Layer, Recall, Request, Rows, Samples
from tests.pure.evidence_factory import LOAD, Recipe, make, with_journal

FASTER = replace(LOAD, name="stress", schedule=ConstantArrivalRate(40.0))
KILL = PlannedFault("f1", "kill", "qdrant", {}, 5.0, 30.0)
STEPS = (
    Step("calm", "steady", 30, load=LOAD),
    Step("busy", "steady", 30, load=FASTER),
    Step("chaos", FAULT, 30, (replace(KILL, id="f0"), KILL), load=FASTER),
    Step("idle", "steady", 30),
)
CALM, BUSY = Window("calm", "steady", 1000.0, 31_000.0), Window("busy", "steady", 31_000.0, 61_000.0)
IDLE = Window("idle", "steady", 61_000.0, 91_000.0)


@cache
def run() -> Evidence:
    evidence = make(Recipe(faults=(), baseline_s=20.0, clean_s=0))
    return replace(evidence, plan=replace(evidence.plan, steps=STEPS))


def journal(*events: Event) -> Evidence:
    return with_journal(run(), events)


def chunk(began_ms: object = 1000.0, profile: str = "normal", **data: Any) -> Event:
    """The first chunk of a load that began then, as the load generator records it: 240 requests in 60 s."""
    start = {"chunk": "0001", "profile": profile, "script": "normal.js", "load_began_ms": began_ms}
    planned = {"scheduled_start_ms": began_ms, "duration_ms": 60_000.0, "due": 240}
    return Event(1, "run", 500.0, "", "load_chunk_started", {**start, **planned, **data})


def test_a_window_has_the_load_of_its_step_or_of_the_step_of_its_fault() -> None:
    assert load_in(run().plan, CALM) == LOAD
    assert load_in(run().plan, BUSY) == FASTER
    assert load_in(run().plan, Window("f1", "fault", 0.0, 1.0, "f1")) == FASTER
    assert load_in(run().plan, IDLE) is load_in(run().plan, Window("other", "steady", 0.0, 1.0)) is None


class Due(ConstantArrivalRate):
    """A schedule that tells which of its times it was asked for."""

    def due_at_least(self, from_ms: float, to_ms: float) -> int:
        return int(1000 * from_ms + to_ms)


@pytest.mark.parametrize(
    ("begins", "began_ms"),
    [
        ([], 1000.0),
        ([chunk(400.0)], 400.0),
        # The load began again later in the window; a begin after it is none of its load.
        ([chunk(400.0), chunk(30_999)], 30_999.0),
        ([chunk(400.0), chunk(31_000.0)], 400.0),
        ([chunk(31_000.0)], 1000.0),
        ([chunk(900.0, "stress")], 1000.0),
        ([chunk("soon"), chunk(None)], 1000.0),
    ],
)
def test_what_was_due_counts_from_the_begin_of_the_load(begins: list[Event], began_ms: float) -> None:
    load = replace(LOAD, schedule=Due(4.0))
    evidence = journal(*begins)
    plan = replace(evidence.plan, steps=(replace(STEPS[0], load=load), *STEPS[1:]))
    due = 1000 * (1000.0 - began_ms) + 31_000.0 - began_ms
    assert due_at_least(replace(evidence, plan=plan), CALM) == due
    assert due_at_least(evidence, IDLE) == 0


@pytest.mark.parametrize(
    ("data", "planned"),
    [
        ({}, True),
        ({"scheduled_start_ms": 61_000.0}, True),
        ({"scheduled_start_ms": 1000.009}, True),
        ({"scheduled_start_ms": 1000.02}, False),
        ({"scheduled_start_ms": 999.98}, False),
        ({"scheduled_start_ms": 990.0}, False),
        ({"scheduled_start_ms": -59_000.0}, False),
        ({"scheduled_start_ms": 31_000.0}, False),
        ({"duration_ms": 60_000.009}, True),
        ({"duration_ms": 59_999.98}, False),
        ({"duration_ms": 60_000.02}, False),
        ({"due": 239}, False),
        ({"due": "240"}, True),
        ({"script": "other.js"}, False),
        ({"profile": "stress"}, False),
        ({"profile": "nobody's"}, False),
        ({"profile": "stress", "due": 2400}, True),
    ],
)
def test_a_chunk_belongs_to_the_plan_if_it_is_one_of_its_chunks(
    data: Mapping[str, Any], planned: bool
) -> None:
    assert is_planned(chunk(**data), run().plan) is planned


def test_a_time_may_differ_by_what_the_journal_rounds() -> None:
    assert is_planned(chunk(0.0, scheduled_start_ms=0.01), run().plan)
    assert not is_planned(chunk(0.0, scheduled_start_ms=0.0101), run().plan)


def test_an_older_chunk_belongs_to_the_plan_by_its_rate() -> None:
    def of_rate(rate_per_s: float) -> Event:
        return Event(1, "run", 500.0, "", "load_chunk_started", {"chunk": "0001", "rate_per_s": rate_per_s})

    assert is_planned(of_rate(4.0), run().plan)
    assert is_planned(of_rate(40.0), run().plan)
    assert not is_planned(of_rate(5.0), run().plan)


def requests(**times_ms: float) -> Samples:
    """One request of each of these chunks."""
    rows = [Request(ms, ms, ms, "list", True, Layer.OK, "", name) for name, ms in times_ms.items()]
    return Samples(requests=Rows(rows))


def in_other_steps(*steps: Window, samples: Samples, plan: Plan | None = None) -> list[str]:
    chunks = [chunk(chunk=name) for name in ("a", "b")] + [chunk(chunk="c", profile="stress")]
    old = replace(chunk(), data={"chunk": "old", "rate_per_s": 4.0})
    evidence = replace(journal(*chunks, old), samples=samples)
    return list(chunks_in_other_steps(replace(evidence, plan=plan or run().plan), steps))


def test_a_chunk_may_not_send_in_a_step_with_another_load() -> None:
    steps = (BUSY, IDLE, CALM)
    assert in_other_steps(*steps, samples=requests(a=1000.0, b=30_999.0, c=31_000.0)) == []
    assert in_other_steps(*steps, samples=requests(b=31_000.0, a=60_999.0)) == ["a", "b"]
    assert in_other_steps(*steps, samples=requests(c=30_999.0, a=1000.0)) == ["c"]
    assert in_other_steps(*steps, samples=requests(a=61_000.0)) == ["a"]
    # Before and after all steps nothing is planned, and a chunk that names no load is judged by its rate.
    assert in_other_steps(*steps, samples=requests(a=999.0, b=91_000.0, old=40_000.0, z=40_000.0)) == []
    assert in_other_steps(samples=requests(a=40_000.0)) == []
    # What stands behind a request that is not judged is judged.
    assert in_other_steps(*steps, samples=requests(a=999.0, b=40_000.0, z=40_000.0, c=20_000.0)) == ["b", "c"]


def test_where_all_steps_have_one_load_the_chunk_of_another_is_found_too() -> None:
    assert in_other_steps(CALM, samples=requests(a=2000.0, c=2000.0)) == ["c"]
    assert in_other_steps(BUSY, samples=requests(a=40_000.0, c=40_000.0)) == ["a"]


def query(at_ms: float, name: str = "q1", hits: int = 10, **more: Any) -> Recall:
    return replace(Recall(at_ms, at_ms + 30, "dense", name, True, hits, 10, Layer.OK, ""), **more)


def search(at_ms: float, **more: Any) -> Request:
    found = Request(at_ms, at_ms + 1, at_ms + 30, "search", True, Layer.OK, "", "0001", 0, "1", 9, 10, "q2")
    return replace(found, **more)


def asking(*rows: Recall | Request, witnesses: tuple[str, ...] = (BY_CANARY, BY_LOAD)) -> Evidence:
    plan = replace(run().plan, observer=replace(run().plan.observer, witnesses=witnesses, recall_k=7))
    samples = Samples(
        recall=Rows(row for row in rows if isinstance(row, Recall)),
        requests=Rows(row for row in rows if isinstance(row, Request)),
    )
    return replace(run(), plan=plan, samples=samples)


def test_the_searches_of_the_load_are_truth_queries_if_the_load_is_a_witness() -> None:
    own, of_load = query(2000.0), search(1500.0, message="slow")
    as_query = Recall(1500.0, 1530.0, "dense", "q2", True, 9, 10, Layer.OK, "slow")
    assert list(asked_between(asking(own, of_load), 1000.0, 3000.0)) == [as_query, own]
    assert tables(asking()) == ("recall", "requests")
    alone = asking(own, of_load, witnesses=(BY_CANARY,))
    assert list(asked_between(alone, 1000.0, 3000.0)) == [own]
    assert tables(alone) == ("recall",)
    assert list(asked_between(asking(own, of_load), 1501.0, 2000.0)) == []


@pytest.mark.parametrize(
    ("request_", "as_query"),
    [
        (search(1500.0, op="list"), None),
        (search(1500.0, sent_ms=None), None),
        (search(1500.0, layer=Layer.UNSENT), None),
        (search(1500.0, layer=Layer.LOST), None),
        # An answer whose hits were not counted says nothing of the accuracy, and a failure says that none came.
        (search(1500.0, hits=None), None),
        (search(1500.0, k=None), None),
        (search(1500.0, k=0), None),
        (
            search(1500.0, hits=None, k=None, query_id=None, layer=Layer.IS_ERROR, message="down"),
            Recall(1500.0, 1530.0, "dense", "", False, 0, 7, Layer.IS_ERROR, "down"),
        ),
        (
            search(1500.0, hits=0, layer=Layer.PAYLOAD, message="empty"),
            Recall(1500.0, 1530.0, "dense", "q2", True, 0, 10, Layer.PAYLOAD, "empty"),
        ),
    ],
)
def test_which_search_of_the_load_counts(request_: Request, as_query: Recall | None) -> None:
    assert list(asked_between(asking(request_), 0.0, 9000.0)) == ([] if as_query is None else [as_query])


def test_a_search_that_does_not_count_hides_none_after_it() -> None:
    evidence = asking(search(1500.0, layer=Layer.LOST), search(1600.0, query_id="q3"))
    assert [row.query_id for row in asked_between(evidence, 0.0, 9000.0)] == ["q3"]


def test_a_query_that_could_not_be_sent_is_none_beside_the_load() -> None:
    unsent = query(1600.0, layer=Layer.UNSENT, answered=False, hits=0)
    assert list(asked_between(asking(unsent, query(1700.0)), 0.0, 9000.0)) == [query(1700.0)]


def test_queries_of_overlapping_windows_count_once_and_by_query() -> None:
    rows = [query(1000.0, hits=10), query(2000.0, "q0", 5), query(3000.0, hits=6), query(4000.0, "q9", 0)]
    rows.append(query(4500.0, "q9", 10, answered=False))
    evidence = asking(*rows)
    spans = (Window("w", "steady", 2500.0, 4600.0), Window("w", "steady", 500.0, 3500.0))
    assert asked_in(evidence, spans) == rows
    assert answered(rows) == rows[:4]
    assert by_query(rows[:4]).tolist() == [0.5, 0.8, 0.0]
    assert by_query([query(1.0, hits=3, k=4)]).tolist() == [0.75]
    assert by_query([]).size == 0


def test_the_wide_windows_of_a_pool_serve_where_the_tight_ones_have_too_few_queries() -> None:
    tight, wide = Window("f", "fault", 1000.0, 2500.0), Window("f", "fault", 0.0, 9000.0)
    pool = Pool("kill", (tight,), (wide,))
    rows = [query(1000.0), query(2000.0, "q2"), query(5000.0, "q3"), query(6000.0, "q4", answered=False)]
    evidence = asking(*rows)
    assert pool.answers(evidence, 2) == rows[:2]
    assert pool.answers(evidence, 3) == rows[:3]
    holed = pool.without([(1500.0, 1600.0)])
    assert holed.subject == "kill"
    assert [(w.from_ms, w.to_ms) for w in holed.tight] == [(1000.0, 1500.0), (1600.0, 2500.0)]
    assert [(w.from_ms, w.to_ms) for w in holed.wide] == [(0.0, 1500.0), (1600.0, 9000.0)]
