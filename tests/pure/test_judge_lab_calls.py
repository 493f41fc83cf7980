"""What the lab itself asked of the target: counted by when it was sent, and by how much of it waited at once."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from lab.judge.stats.lab_calls import AskedIn, LabCalls, overloads, states, waiting_allowed, work_share
from lab.judge.windows.fault_window import FaultWindow
from lab.judge.windows.incidents import Incident
from lab.judge.windows.window import Window
from lab.judge.witnesses.streams import ByCanary
from lab.model.capacity import Capacity, OperationCost
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import PlannedFault
from lab.model.samples import STORE_PROBE, Layer, Probe, Recall, Rows, Samples
from tests.pure.evidence_factory import Recipe, make

# The canary `list` takes 1 % of the target for each call a second, the truth query `search` 5 %.
CAPACITY = Capacity(
    {"list": OperationCost(100.0, 1.0, 1.0, 20), "search": OperationCost(20.0, 1.0, 1.0, 20)}, 25.0, 1.0, 9.0
)
RUN = make(Recipe(faults=(), baseline_s=5.0, clean_s=0.0))
# A call of the canary is given up after 2 s, a truth query after 10 s.
OBSERVER = replace(RUN.plan.observer, outstanding_max=3, recall_outstanding_max=2, share_max=0.05)
MEASURED = Event(1, "run", 600.0, "", "capacity_measured", {})


def run_with(
    probes: Sequence[Probe] = (),
    recall: Sequence[Recall] = (),
    *,
    measured: bool = True,
    capacity: bool = True,
) -> Evidence:
    plan = replace(RUN.plan, observer=OBSERVER, capacity=CAPACITY if capacity else None)
    samples = Samples(probes=Rows(probes), recall=Rows(recall))
    return Evidence(plan, Journal((MEASURED,) if measured else ()), samples)


def probe(at_ms: float, done_ms: float | None, outcome: str = "ok", name: str = "list") -> Probe:
    return Probe(at_ms, done_ms, name, outcome, "")


def query(at_ms: float, done_ms: float | None, layer: Layer = Layer.OK) -> Recall:
    return Recall(at_ms, done_ms, "dense", "q1", layer is Layer.OK, 10, 10, layer, "")


def window(from_ms: float, to_ms: float, name: str = "steady") -> Window:
    return Window(name, "steady", from_ms, to_ms)


def test_each_operation_is_counted_from_the_begin_of_a_window_up_to_its_end() -> None:
    rows = [probe(at, at + 1) for at in (0.0, 10.0, 20.0, 30.0)]
    store = probe(15.0, 16.0, name=STORE_PROBE)
    asked = run_with([*rows, store, probe(16.0, None, "unsent")], [query(12.0, 14.0), query(40.0, 41.0)])
    calls = LabCalls(asked)
    assert calls.started([window(10.0, 30.0)]) == {"list": 2, "search": 1}
    assert calls.started([window(0.0, 10.0), window(30.0, 50.0)]) == {"list": 2, "search": 1}
    assert calls.started([window(50.0, 60.0)]) == calls.started([]) == {}


def test_a_call_waits_until_its_end_and_without_one_for_its_whole_time_limit() -> None:
    calls = LabCalls(run_with([probe(0.0, None, "transport")], [query(0.0, None, Layer.TRANSPORT)]))
    for from_ms, waiting in ((0.0, 2), (1999.0, 2), (2000.0, 1), (9999.0, 1), (10_000.0, 0)):
        assert calls.waiting_max([window(from_ms, from_ms + 0.5)]) == waiting, from_ms


def test_the_most_that_waited_at_once_is_that_of_the_worst_moment_of_any_window() -> None:
    rows = [probe(100.0, 200.0), probe(150.0, 250.0), probe(250.0, 300.0)]
    calls = LabCalls(run_with(rows))
    assert calls.waiting_max([window(0.0, 120.0), window(120.0, 180.0)]) == 2
    assert calls.waiting_max([window(120.0, 180.0), window(0.0, 120.0)]) == 2
    # As one ends at 250 ms and another begins, they do not wait at once.
    assert calls.waiting_max([window(210.0, 400.0)]) == 1
    assert calls.waiting_max([window(0.0, 100.0)]) == calls.waiting_max([window(400.0, 500.0)]) == 0
    # What waits as a window begins, and ends in it, waited in it.
    assert calls.waiting_max([window(160.0, 170.0)]) == 2
    assert calls.waiting_max([window(150.0, 160.0)]) == 2
    assert LabCalls(run_with()).waiting_max([window(0.0, 100.0)]) == 0
    only = LabCalls(run_with([probe(100.0, 200.0)]))
    assert only.waiting_max([window(0.0, 150.0)]) == only.waiting_max([window(0.0, 300.0)]) == 1


def test_as_many_calls_may_wait_as_both_limits_say_together() -> None:
    assert waiting_allowed(OBSERVER) == 5


def test_the_share_of_the_work_is_that_of_the_rates_without_the_calls_at_the_edge() -> None:
    counts = {"list": 20, "search": 3}
    assert work_share(counts, 10.0, CAPACITY) == pytest.approx(0.02 + 0.3 / 20)
    assert work_share(counts, 10.0, CAPACITY, fewer=1) == pytest.approx(0.019 + 0.2 / 20)
    assert work_share({"list": 1, "search": 0}, 10.0, CAPACITY, fewer=1) == 0.0
    assert work_share(counts, 0.0, CAPACITY) == work_share(counts, -1.0, CAPACITY) == 0.0
    assert work_share(counts, 1.0, CAPACITY) == pytest.approx(0.2 + 0.15)


EVERY_SECOND = [probe(1000.0 * n, 1000.0 * n + 10) for n in range(30)]
BURST = [probe(30_000.0 + 100 * n, 30_005.0 + 100 * n) for n in range(100)]


def asked_in(*spans: Window, run: Evidence | None = None) -> AskedIn:
    return AskedIn(LabCalls(run or run_with([*EVERY_SECOND, *BURST])), spans, CAPACITY)


def test_the_worst_window_is_named_beside_the_share_of_all() -> None:
    calm, busy = window(0.0, 30_000.0, "calm"), window(30_000.0, 40_000.0, "busy")
    for spans in ((calm, busy), (busy, calm)):
        asked = asked_in(*spans)
        assert asked.share() == pytest.approx(130 / 40 / 100)
        share, name = asked.worst()
        assert share == pytest.approx(99 / 10 / 100) and name == "busy"
        assert asked.in_words() == "list 3.2/s"
        assert asked.waiting() == 1
        assert not asked.is_small(OBSERVER)
    assert asked_in(calm).is_small(OBSERVER)
    assert asked_in(window(50_000.0, 60_000.0)).in_words() == "nothing"
    both = asked_in(window(0.0, 2000.0), run=run_with(EVERY_SECOND, [query(5.0, 6.0)]))
    assert both.in_words() == "list 1/s, search 0.5/s"


def test_an_observer_is_small_up_to_its_budget_and_up_to_its_limit_of_waiting_calls() -> None:
    asked = asked_in(window(0.0, 30_000.0))
    share = asked.worst()[0]
    assert asked.is_small(replace(OBSERVER, share_max=share))
    assert not asked.is_small(replace(OBSERVER, share_max=share - 1e-9))
    hanging = asked_in(window(0.0, 30_000.0), run=run_with([probe(float(n), None) for n in range(5)]))
    assert hanging.waiting() == 5 and hanging.is_small(OBSERVER)
    assert not hanging.is_small(replace(OBSERVER, outstanding_max=2))


def test_the_calls_of_each_window_are_found_among_the_probes_and_the_truth_queries() -> None:
    assert asked_in(window(0.0, 30_000.0), window(40_000.0, 41_000.0)).places() == (
        "samples:probes[0..30000ms]",
        "samples:recall[0..30000ms]",
        "samples:probes[40000..41000ms]",
        "samples:recall[40000..41000ms]",
    )


def fault(
    name: str, span: tuple[float, float] | None, cleared_ms: float | None, recovered_ms: float | None = None
) -> FaultWindow:
    """A fault whose step is `span`, cleared and recovered from at these times."""
    stream = ByCanary.of(RUN, None)
    observation = None
    if recovered_ms is not None:
        good = replace(RUN, samples=Samples(probes=Rows([probe(recovered_ms - 5, recovered_ms)])))
        observation = ByCanary.of(good, window(0.0, 1e9)).in_slo[0]
    return FaultWindow(
        planned=PlannedFault(name, "kill", "qdrant", {}, 30.0, 60.0),
        events=(),
        span=None if span is None else Window(name, "fault", *span, name),
        injected_ms=0.0,
        cleared_from_ms=cleared_ms,
        cleared_ms=cleared_ms,
        starts=False,
        doubts=(),
        heal_doubts=(),
        shared_doubts=(),
        stream=stream,
        recovering=observation,
    )


def spans_of(*faults: FaultWindow, to_ms: float = 500_000.0) -> dict[str, list[tuple[float, float]]]:
    found = states((window(0.0, 5000.0),), faults, to_ms)
    return {name: [(span.from_ms, span.to_ms) for span in spans] for name, spans in found}


def test_a_fault_is_in_force_until_it_is_cleared_and_then_the_target_recovers() -> None:
    assert spans_of(fault("f1", (10_000.0, 100_000.0), 50_000.0, 80_000.0)) == {
        "steady": [(0.0, 5000.0)],
        "in force": [(10_000.0, 50_000.0)],
        "recovering": [(50_000.0, 80_000.0)],
    }
    # A target that never recovered does so to the end of the step.
    assert spans_of(fault("f1", (10_000.0, 100_000.0), 50_000.0))["recovering"] == [(50_000.0, 100_000.0)]
    # A fault that was never cleared is in force to the end of its step, and nothing recovers.
    uncleared = spans_of(fault("f1", (10_000.0, 100_000.0), None))
    assert (uncleared["in force"], uncleared["recovering"]) == ([(10_000.0, 100_000.0)], [])
    assert spans_of(fault("f1", None, None)) == {"steady": [(0.0, 5000.0)], "in force": [], "recovering": []}


def test_a_time_that_is_too_short_for_a_rate_is_counted_with_what_follows() -> None:
    brief = fault("f1", (10_000.0, 100_000.0), 12_000.0, 12_500.0)
    assert spans_of(brief)["in force"] == [(10_000.0, 30_000.0)]
    assert spans_of(brief)["recovering"] == [(12_000.0, 32_000.0)]
    # Not beyond the end of the run, and a time that is long enough is not cut at it.
    assert spans_of(brief, to_ms=15_000.0)["in force"] == [(10_000.0, 15_000.0)]
    assert spans_of(brief, to_ms=11_000.0)["in force"] == [(10_000.0, 12_000.0)]
    # The recovery of one step may be seen before its last heal: its time is empty, not negative.
    early = fault("f1", (10_000.0, 100_000.0), 50_000.0, 40_000.0)
    assert spans_of(early)["recovering"] == [(50_000.0, 70_000.0)]
    assert spans_of(early, to_ms=50_000.0)["recovering"] == []
    assert spans_of(early, to_ms=50_000.5)["recovering"] == [(50_000.0, 50_000.5)]


def test_the_faults_of_one_step_share_one_time() -> None:
    both = (fault("f1", (10_000.0, 90_000.0), 50_000.0), fault("f2", (10_000.0, 90_000.0), 50_000.0))
    assert spans_of(*both)["in force"] == [(10_000.0, 50_000.0)]
    later = fault("f3", (110_000.0, 190_000.0), 150_000.0)
    assert spans_of(*both, later)["in force"] == [(10_000.0, 50_000.0), (110_000.0, 150_000.0)]


# Ten calls a second take 10 % of the target, twice the budget, from 30 s to 60 s.
TOO_MANY = [probe(30_000.0 + 100 * n, 30_010.0 + 100 * n) for n in range(300)]


def overloaded(run: Evidence, steady: tuple[Window, ...], *faults: FaultWindow) -> list[Incident]:
    return list(overloads(run, steady, faults, 500_000.0))


def test_what_the_lab_asked_too_much_touches_all_that_rests_on_how_fast_the_target_answers() -> None:
    (found,) = overloaded(
        run_with(TOO_MANY), (window(0.0, 20_000.0, "calm"), window(30_000.0, 60_000.0, "baseline"))
    )
    why = "the lab itself asked too much of the target (list 10/s) in baseline, steady"
    touched = frozenset({"requests", "probes", "recall"})
    assert found == Incident(30_000.0, 60_000.0, touched, why, MEASURED)


def test_a_small_window_hides_no_later_one() -> None:
    found = overloaded(run_with(TOO_MANY), (window(0.0, 20_000.0), window(30_000.0, 60_000.0, "late")))
    assert [incident.from_ms for incident in found] == [30_000.0]


def test_what_was_asked_in_force_is_worked_off_until_the_end_of_the_step() -> None:
    (found,) = overloaded(run_with(TOO_MANY), (), fault("f1", (25_000.0, 200_000.0), 60_000.0, 60_010.0))
    assert (found.from_ms, found.to_ms) == (25_000.0, 200_000.0)
    assert found.why == "the lab itself asked too much of the target (list 8.6/s) in f1, in force"
    recovering = overloaded(run_with(TOO_MANY), (), fault("f1", (5000.0, 200_000.0), 30_000.0, 60_000.0))
    assert [(i.from_ms, i.to_ms, i.why[-10:]) for i in recovering] == [(30_000.0, 200_000.0, "recovering")]
    # A window that is longer than its step, because it was short, ends where it ends.
    (short,) = overloaded(run_with(TOO_MANY), (), fault("f1", (35_000.0, 40_000.0), 38_000.0, 36_000.0))[:1]
    assert (short.from_ms, short.to_ms) == (35_000.0, 55_000.0)


def test_a_steady_time_is_touched_itself_and_no_fault_of_its_name() -> None:
    steady = (window(30_000.0, 60_000.0, "f1"),)
    (found,) = overloaded(run_with(TOO_MANY), steady, fault("f1", (100_000.0, 200_000.0), 150_000.0))
    assert (found.from_ms, found.to_ms) == (30_000.0, 60_000.0)


def test_without_a_measured_capacity_nothing_is_too_much() -> None:
    steady = (window(30_000.0, 60_000.0),)
    assert len(overloaded(run_with(TOO_MANY), steady)) == 1
    assert overloaded(run_with(TOO_MANY, measured=False), steady) == []
    assert overloaded(run_with(TOO_MANY, capacity=False), steady) == []
