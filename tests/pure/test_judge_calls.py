"""Which calls to the target count as observations, when each begins and ends, and what it showed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from lab.judge.witnesses.calls import Call, calls_between, request_timeout_ms
from lab.model.evidence import Evidence
from lab.model.journal import CLOCK_STEPPED, Event, Journal
from lab.model.plan import BY_CANARY, BY_LOAD, BY_TRUTH
from lab.model.samples import STALLED, STORE_PROBE, WRONG, Layer, Probe, Recall, Request, Rows, Samples
from lab.model.target import KnownIssue
from tests.pure.evidence_factory import LOAD, STATUS_ISSUES, STATUS_MESSAGE, Recipe, make

INF = math.inf
PLAN = make(Recipe(faults=(), baseline_s=5.0, clean_s=0.0)).plan


def run_with(
    *rows: Request | Probe | Recall,
    witnesses: Sequence[str] = (BY_LOAD, BY_CANARY, BY_TRUTH),
    journal: Sequence[Event] = (),
    issues: tuple[KnownIssue, ...] = (),
    counts_hits: bool = False,
) -> Evidence:
    operations = dict(PLAN.target.operations)
    if counts_hits:
        operations["list"] = replace(operations["list"], document_ids=("ids",))
    plan = replace(
        PLAN,
        observer=replace(PLAN.observer, witnesses=tuple(witnesses)),
        target=replace(PLAN.target, known_issues=issues, operations=operations),
    )
    tables = {
        "requests": Rows(row for row in rows if isinstance(row, Request)),
        "probes": Rows(row for row in rows if isinstance(row, Probe)),
        "recall": Rows(row for row in rows if isinstance(row, Recall)),
    }
    return Evidence(plan, Journal(tuple(journal)), Samples(**tables))  # type: ignore[arg-type]


def request(at_ms: float = 100.0, **values: object) -> Request:
    """A request of the load that was due at a time, sent 2 ms later and answered after 30 ms."""
    usual = Request(at_ms, at_ms + 2, at_ms + 32, "add", True, Layer.OK, "", "0000")
    return replace(usual, **values)  # type: ignore[arg-type]


def calls(run: Evidence) -> list[Call]:
    return calls_between(run, 0.0, 1e9)


def test_a_request_counts_from_when_it_was_due_and_took_the_time_since_it_was_sent() -> None:
    assert calls(run_with(request())) == [Call(100.0, 132.0, 30.0, "add", True, True, None)]


def test_a_request_without_an_answer_was_given_up_after_the_time_limit() -> None:
    lost = request(done_ms=None, ok=False, layer=Layer.TRANSPORT)
    assert calls(run_with(lost)) == [Call(100.0, 10_102.0, INF, "add", False, False, None)]
    # A success without a recorded end is none.
    assert calls(run_with(request(done_ms=None))) == [Call(100.0, 10_102.0, INF, "add", False, False, None)]
    hits = request(done_ms=None, ok=False, op="search", hits=3, k=10)
    assert calls(run_with(hits)) == [Call(100.0, 10_102.0, INF, "search", False, False, 0.3)]


def test_the_time_limit_is_the_longest_of_the_loads_and_without_a_load_that_of_the_target() -> None:
    assert request_timeout_ms(PLAN) == 10_000.0
    short = replace(LOAD, name="short", request_timeout_ms=3000)
    steps = (PLAN.steps[0], replace(PLAN.steps[1], load=short))
    assert request_timeout_ms(replace(PLAN, steps=steps)) == 10_000.0
    assert request_timeout_ms(replace(PLAN, steps=steps[1:])) == 3000.0
    idle = replace(PLAN, steps=tuple(replace(step, load=None) for step in PLAN.steps))
    assert request_timeout_ms(replace(idle, target=replace(PLAN.target, request_timeout_ms=7000))) == 7000.0


@pytest.mark.parametrize(
    "unusable",
    [
        {"sent_ms": None},
        {"layer": Layer.UNSENT, "ok": False},
        {"layer": Layer.LOST, "ok": False},
        {"sent_ms": 200.1},
    ],
)
def test_what_was_not_sent_or_begun_late_by_the_generator_is_no_observation(
    unusable: dict[str, object],
) -> None:
    """It hides no request after it either."""
    assert calls(run_with(request(100.0, **unusable), request(300.0))) == calls(run_with(request(300.0)))


def test_a_request_that_the_generator_began_just_in_time_counts() -> None:
    assert [call.from_ms for call in calls(run_with(request(100.0, sent_ms=200.0)))] == [100.0]


def stepped(at_ms: float, **data: object) -> Event:
    return Event(1, "run", at_ms, "", CLOCK_STEPPED, data)


@pytest.mark.parametrize(
    ("sent_ms", "done_ms", "counts"),
    [
        # The clock stepped by 100 ms between 1000 and 1200 ms: times from 900 to 1300 ms are uncertain.
        (800.0, 899.0, True),
        (800.0, 900.0, False),
        (899.0, 1301.0, True),
        (900.0, 1400.0, False),
        (1300.0, 1400.0, False),
        (1301.0, 1400.0, True),
        (1000.0, None, False),
        (800.0, None, True),
    ],
)
def test_a_request_that_began_or_ended_while_the_wall_clock_stepped_says_nothing(
    sent_ms: float, done_ms: float | None, counts: bool
) -> None:
    row = request(sent_ms, sent_ms=sent_ms, done_ms=done_ms)
    for by_ms in (100.0, -100.0):
        run = run_with(row, request(5000.0), journal=[stepped(1200.0, by_ms=by_ms, from_ms=1000.0)])
        assert len(calls(run)) == 1 + counts


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ({"by_ms": 50.0, "from_ms": 1000.0}, True),
        ({"by_ms": 50.1, "from_ms": 1000.0}, False),
        ({"by_ms": 1000.0, "from_ms": 1000.0}, False),
        # A large step touches everything as an incident, and leaves out no single request.
        ({"by_ms": 1000.1, "from_ms": 1000.0}, True),
        ({"from_ms": 1000.0}, True),
        ({"by_ms": 100.0}, True),
        ({"by_ms": 100.0, "from_ms": "before"}, True),
        ({"by_ms": 100, "from_ms": 1000}, False),
    ],
)
def test_only_a_small_step_whose_begin_is_known_leaves_requests_out(
    data: dict[str, object], counts: bool
) -> None:
    run = run_with(request(1100.0), journal=[stepped(1200.0, **data)])
    assert bool(calls(run)) is counts


def test_a_request_within_the_earlier_of_two_overlapping_steps_is_left_out_too() -> None:
    long, short = stepped(3000.0, by_ms=900.0, from_ms=1500.0), stepped(1700.0, by_ms=60.0, from_ms=1600.0)
    for journal in ([long, short], [short, long]):
        run = run_with(request(2500.0), request(9000.0), request(500.0), journal=journal)
        assert [call.from_ms for call in calls(run)] == [500.0, 9000.0]


def test_each_of_two_steps_leaves_its_own_requests_out_and_none_between_them() -> None:
    steps = [stepped(1200.0, by_ms=100.0, from_ms=1000.0), stepped(5200.0, by_ms=100.0, from_ms=5000.0)]
    rows = [request(at_ms) for at_ms in (1100.0, 3000.0, 5100.0, 7000.0)]
    assert [call.from_ms for call in calls(run_with(*rows, journal=steps))] == [3000.0, 7000.0]


def test_short_steps_within_a_long_one_hide_nothing_of_it() -> None:
    """The long step makes times from 500 to 4000 ms uncertain, and the last short one only those up to 1900 ms."""
    short = [stepped(1640.0 + 100 * n, by_ms=60.0, from_ms=1600.0 + 100 * n) for n in range(3)]
    run = run_with(
        request(3000.0), request(4001.0), journal=[*short, stepped(3000.0, by_ms=1000.0, from_ms=1500.0)]
    )
    assert [call.from_ms for call in calls(run)] == [4001.0]


def test_a_failure_that_a_known_issue_explains_is_no_observation() -> None:
    broken = request(op="status", ok=False, layer=Layer.PAYLOAD, message=STATUS_MESSAGE)
    other = request(300.0, op="status", ok=False, layer=Layer.PAYLOAD, message="another error")
    assert len(calls(run_with(broken))) == 1
    for issue in STATUS_ISSUES:
        assert [call.from_ms for call in calls(run_with(broken, other, issues=(issue,)))] == [300.0]
    # An issue of the accuracy, or one that is declared for a fault only, excuses no request here.
    for change in ({"check": "accuracy"}, {"faults": ("kill",)}):
        kept = replace(STATUS_ISSUES[0], **change)
        assert len(calls(run_with(broken, issues=(kept,)))) == 1


@pytest.mark.parametrize(
    ("values", "answered", "right", "found"),
    [
        ({}, True, True, None),
        ({"ok": False, "layer": Layer.PAYLOAD}, False, False, None),
        ({"op": "search", "hits": 9, "k": 10}, True, True, 0.9),
        ({"op": "search", "hits": 0, "k": 10}, True, True, 0.0),
        # An answer that claims success and is wrong.
        ({"op": "search", "hits": 4, "k": 10, "ok": False, "layer": Layer.PAYLOAD}, True, False, 0.4),
        ({"op": "search", "ok": False, "layer": Layer.IS_ERROR}, False, False, 0.0),
        ({"op": "search", "hits": 4, "k": 0}, True, True, 0.0),
        ({"op": "search", "hits": 4, "k": None}, True, True, 0.0),
        # A search of another query than one of the truth has nothing to be counted.
        ({"op": "search"}, True, True, None),
        ({"op": "add", "hits": 4, "k": 10}, True, True, None),
    ],
)
def test_a_request_shows_whether_it_was_answered_rightly_and_with_which_documents(
    values: dict[str, object], answered: bool, right: bool, found: float | None
) -> None:
    (call,) = calls(run_with(request(**values)))  # type: ignore[arg-type]
    assert (call.answered, call.right, call.found) == (answered, right, found)


def query(at_ms: float, hits: int, layer: Layer = Layer.OK, done_ms: float | None = None) -> Recall:
    answered = layer in (Layer.OK, Layer.PAYLOAD)
    return Recall(at_ms, done_ms, "dense", "q1", answered, hits, 10, layer, "")


def test_a_truth_query_shows_the_share_of_the_documents_that_it_found() -> None:
    run = run_with(
        query(100.0, 9, done_ms=130.0),
        query(200.0, 2, Layer.PAYLOAD, done_ms=240.0),
        query(300.0, 5, Layer.IS_ERROR, done_ms=350.0),
        query(350.0, 0, Layer.UNSENT),
        query(360.0, 0, Layer.LOST),
        query(400.0, 0, Layer.TRANSPORT),
    )
    assert calls(run) == [
        Call(100.0, 130.0, 30.0, "search", True, True, 0.9),
        Call(200.0, 240.0, 40.0, "search", True, False, 0.2),
        Call(300.0, 350.0, 50.0, "search", False, False, 0.0),
        Call(400.0, 10_400.0, INF, "search", False, False, 0.0),
    ]


def canary() -> Iterator[Probe]:
    """A probe of each kind; the second `ok` was never answered, and the last is of the store."""
    outcomes = ("ok", WRONG, Layer.PAYLOAD.value, "ok", Layer.UNSENT.value, STALLED, Layer.TRANSPORT.value)
    for n, outcome in enumerate(outcomes):
        yield Probe(100.0 * n, None if n in (3, 6) else 100.0 * n + 7, "list", outcome, "")
    yield Probe(50.0, 51.0, STORE_PROBE, "ok", "")


def test_a_canary_probe_is_given_up_after_its_own_limit_and_a_wrong_answer_is_an_answer() -> None:
    assert calls(run_with(*canary())) == [
        Call(0.0, 7.0, 7.0, "list", True, True, None),
        Call(100.0, 107.0, 7.0, "list", True, False, None),
        Call(200.0, 207.0, 7.0, "list", False, False, None),
        Call(300.0, 2300.0, INF, "list", False, False, None),
        Call(600.0, 2600.0, INF, "list", False, False, None),
    ]


def test_a_canary_that_counts_hits_found_all_or_nothing() -> None:
    found = [call.found for call in calls(run_with(*canary(), counts_hits=True))]
    assert found == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_only_the_witnesses_of_the_plan_are_heard_in_order_from_one_time_up_to_another() -> None:
    rows: tuple[Request | Probe | Recall, ...] = (request(100.0), query(100.0, 9, done_ms=130.0), *canary())
    assert [call.operation for call in calls_between(run_with(*rows), 100.0, 200.0)] == [
        "list",
        "search",
        "add",
    ]
    for witness, operation in ((BY_LOAD, "add"), (BY_TRUTH, "search"), (BY_CANARY, "list")):
        only = calls_between(run_with(*rows, witnesses=(witness,)), 100.0, 200.0)
        assert [call.operation for call in only] == [operation]
    assert calls_between(run_with(*rows), 101.0, 200.0) == []


def test_calls_that_are_equal_but_for_what_they_found_have_one_order() -> None:
    searches = [request(op="search", hits=hits, k=10 if hits is not None else None) for hits in (7, None, 0)]
    assert [call.found for call in calls(run_with(*searches))] == [None, 0.0, 0.7]
    assert [call.found for call in calls(run_with(*searches[::-1]))] == [None, 0.0, 0.7]
