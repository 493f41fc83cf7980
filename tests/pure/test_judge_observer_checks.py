"""The check of what the lab itself takes of the target: figures, bounds and reasons."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lab.judge.checks import not_built, observer_share
from lab.judge.windows.incidents import Incident
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.model.capacity import Capacity, OperationCost
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import FAULT, STEADY, Plan
from lab.model.samples import Layer, Probe, Recall, Rows, Samples
from lab.model.verdict import Bound, Finding, Verdict
from tests.pure.evidence_factory import Recipe, make
from tests.pure.window_factory import fault_window

PASS, INCONCLUSIVE, NOT_TESTED = Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.NOT_TESTED
RUN = make(Recipe(faults=("kill",), warm_up_s=5, baseline_s=10, clean_s=0, hold_s=5)).plan
KILL = RUN.faults()[0]
# The canary `list` takes 1 % of the target for each call a second, the truth query `search` 5 %.
COSTS = {"list": OperationCost(100.0, 10.0, 10.0, 20), "search": OperationCost(20.0, 45.0, 45.0, 20)}
PLAN = replace(
    RUN,
    capacity=Capacity(COSTS, 25.0, 1.0, 9.0),
    observer=replace(RUN.observer, outstanding_max=2, recall_outstanding_max=1, share_max=0.05),
)
BASELINE = Window("baseline", STEADY, 0.0, 100_000.0)
CLEAN = Window("clean", STEADY, 150_000.0, 200_000.0)
MEASURED = Event(7, "run", 0.0, "", "capacity_measured", {})
DIED = Event(40, "run", 30_000.0, "", "sampler_died", {})


def probes(count: int, every_ms: float, from_ms: float = 0.0, took_ms: float = 10.0) -> list[Probe]:
    times = [from_ms + every_ms * n for n in range(count)]
    return [Probe(at, at + took_ms, "list", "ok", "") for at in times]


def asked(
    *canary: Probe,
    recall: Sequence[Recall] = (),
    plan: Plan = PLAN,
    events: tuple[Event, ...] = (MEASURED,),
    incidents: tuple[Incident, ...] = (),
    steady: tuple[Window, ...] = (BASELINE,),
    faults: tuple[Any, ...] = (),
) -> dict[str, Finding]:
    windows = Windows(steady, steady, faults, 0.0, 200_000.0, incidents=incidents)
    samples = Samples(probes=Rows(canary), recall=Rows(recall))
    found = observer_share.findings(Evidence(plan, Journal(events), samples), windows)
    assert {finding.check for finding in found} == {"observer_share"}
    return {finding.subject: finding for finding in found}


def test_five_percent_of_the_capacity_are_allowed_and_no_more() -> None:
    """In 100 s, 500 canary calls are 5/s, which take 5 %."""
    found = asked(*probes(500, 200.0))
    assert set(found) == {"steady"}
    finding = found["steady"]
    assert (finding.verdict, finding.gate_verdict, finding.observed, finding.n) == (PASS, PASS, 0.05, 500)
    assert (finding.unit, finding.bound) == ("share of the target's capacity", Bound("<=", 0.05))
    assert finding.reason == (
        "the lab asked list 5/s beside the load; 1 of its calls waited at once, 3 may; at most 4.99% in baseline"
    )
    assert finding.evidence == ("journal:7", "samples:probes[0..100000ms]", "samples:recall[0..100000ms]")
    more = asked(*probes(501, 199.0))["steady"]
    assert (more.verdict, more.gate_verdict, more.observed, more.n) == (
        INCONCLUSIVE,
        INCONCLUSIVE,
        0.0501,
        501,
    )
    assert more.reason == (
        "the lab asked list 5/s beside the load; 1 of its calls waited at once, 3 may; at most 5.00% in baseline; "
        "the lab itself loads the target too much here, so its part in the other findings is unknown"
    )


def test_one_window_over_the_budget_or_too_many_waiting_are_too_much_whatever_the_mean() -> None:
    """The clean window of 50 s has 6/s, and both together only 3.3/s."""
    calls = [*probes(200, 500.0), *probes(300, 160.0, 150_000.0)]
    finding = asked(*calls, steady=(BASELINE, CLEAN))["steady"]
    assert finding.verdict is INCONCLUSIVE
    assert finding.observed == pytest.approx(500 / 150 / 100)
    assert "at most 5.98% in clean;" in finding.reason
    waiting = [*probes(3, 1.0, 0.0, 100.0), *probes(90, 1000.0, 5000.0)]
    assert asked(*waiting)["steady"].verdict is PASS
    finding = asked(*probes(1, 1.0, 3.0, 100.0), *waiting)["steady"]
    assert finding.verdict is INCONCLUSIVE and "4 of its calls waited at once, 3 may" in finding.reason


def test_truth_queries_count_with_their_own_cost_and_each_state_has_its_finding() -> None:
    rows = [Recall(1000.0 * n, 1000.0 * n + 45, "dense", "q", True, 10, 10, Layer.OK, "") for n in range(60)]
    span = Window(KILL.id, FAULT, 100_000.0, 140_000.0, KILL.id)
    fault = fault_window(KILL, span, cleared_ms=120_000.0)
    found = asked(*probes(140, 1000.0), recall=rows, faults=(fault,))
    assert set(found) == {"steady", "in force", "recovering"}
    assert found["steady"].observed == pytest.approx(0.01 + 0.6 * 0.05)
    assert found["steady"].n == 160
    assert found["in force"].evidence[1:] == (
        "samples:probes[100000..120000ms]",
        "samples:recall[100000..120000ms]",
    )
    assert found["recovering"].verdict is PASS


def test_a_state_without_a_recorded_call_is_undecided_and_the_others_are_judged() -> None:
    span = Window(KILL.id, FAULT, 100_000.0, 140_000.0, KILL.id)
    found = asked(*probes(100, 1000.0), faults=(fault_window(KILL, span),))
    assert found["steady"].verdict is PASS
    nothing = found["in force"]
    assert (nothing.verdict, nothing.gate_verdict, nothing.n) == (INCONCLUSIVE, INCONCLUSIVE, 0)
    assert nothing.reason == "no call of the lab itself was recorded"
    assert nothing.evidence == (
        "journal:7",
        "samples:probes[100000..140000ms]",
        "samples:recall[100000..140000ms]",
    )


def test_without_the_measurement_nothing_is_claimed() -> None:
    finding = asked(*probes(500, 200.0), events=())["steady"]
    assert (finding.verdict, finding.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert finding.reason == "the journal does not say that the target's capacity was measured"


@pytest.mark.parametrize("stream", ["probes", "recall"])
def test_calls_that_a_dead_sampler_may_have_sent_put_the_finding_in_doubt(stream: str) -> None:
    died = Incident(20_000, 21_000, frozenset({stream}), "the canary died", DIED)
    finding = asked(*probes(100, 1000.0), incidents=(died,))["steady"]
    assert (finding.verdict, finding.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert finding.reason.startswith(
        "an incident touched its evidence: the canary died (journal:40); the lab asked"
    )
    for other in (
        replace(died, streams=frozenset({"requests"})),
        replace(died, event=None),
        replace(died, event=MEASURED),
        replace(died, from_ms=150_000, to_ms=160_000),
    ):
        assert asked(*probes(100, 1000.0), incidents=(other,))["steady"].verdict is PASS


OLDER = replace(PLAN, capacity=None)


def cost(**changes: Any) -> tuple[Event, ...]:
    usual = {"canary_ms": 8.0, "recall_ms": 20.0, "share": 0.023, "calls": 20}
    return (Event(5, "run", 50_000.0, "", "observer_cost", {**usual, **changes}),)


def test_an_older_run_is_judged_by_the_cpu_time_of_its_calls() -> None:
    finding = asked(plan=OLDER, events=cost())["steady"]
    assert (finding.verdict, finding.gate_verdict, finding.observed, finding.n) == (PASS, PASS, 0.023, 20)
    assert (finding.unit, finding.bound) == ("share of the target's CPU capacity", Bound("<", 0.05))
    assert finding.reason == "canary 8 ms and recall 20 ms of CPU time per call"
    assert finding.evidence == ("journal:5",)
    fast = asked(plan=OLDER, events=cost(share_fast=0.0456))["steady"]
    assert fast.reason.endswith("per call; while a fault is in force or not recovered from: 4.6%")
    assert asked(plan=OLDER, events=cost(share_fast=1))["steady"].reason.endswith("recovered from: 100.0%")
    (event,) = cost()
    uncounted = replace(event, data={k: v for k, v in event.data.items() if k != "calls"})
    assert asked(plan=OLDER, events=(uncounted,))["steady"].n == 1


def test_an_older_run_at_the_budget_or_without_a_measurement_is_undecided() -> None:
    heavy = asked(plan=OLDER, events=cost(share=0.05))["steady"]
    assert (heavy.verdict, heavy.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert heavy.reason == (
        "canary 8 ms and recall 20 ms of CPU time per call; the lab itself loads the target too much here, "
        "so its part in the other findings is unknown"
    )
    for name in ("canary_ms", "recall_ms", "share"):
        finding = asked(plan=OLDER, events=cost(**{name: 0.0}))["steady"]
        assert finding.verdict is INCONCLUSIVE and finding.reason.endswith(
            "of CPU time: nothing was measured"
        )
        assert finding.evidence == ("journal:5",)
        assert asked(plan=OLDER, events=cost(**{name: 0.01}))["steady"].verdict is PASS
    none = asked(plan=OLDER, events=cost(canary_ms=0.0))["steady"]
    assert none.reason == "canary 0 ms, recall 20 ms of CPU time: nothing was measured"
    missing = asked(plan=OLDER, events=())["steady"]
    assert missing.verdict is INCONCLUSIVE
    assert missing.reason == "what the lab's own calls take of the target was not measured"


def test_an_older_measurement_is_doubted_where_the_readings_before_it_were_touched() -> None:
    died = Incident(20_000, 21_000, frozenset({"host"}), "the reader died", DIED)
    finding = asked(plan=OLDER, events=cost(), incidents=(died,))["steady"]
    assert (finding.verdict, finding.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    for other in (replace(died, streams=frozenset({"probes"})), replace(died, from_ms=50_000, to_ms=60_000)):
        assert asked(plan=OLDER, events=cost(), incidents=(other,))["steady"].verdict is PASS


def test_what_cannot_be_judged_yet_is_said_to_be_untested() -> None:
    windows = Windows((), (), (), 0.0, 0.0)
    found = not_built.findings(Evidence(PLAN, Journal(()), Samples()), windows)
    assert {(f.verdict, f.gate_verdict) for f in found} == {(NOT_TESTED, NOT_TESTED)}
    assert ("score", "run", "not built yet; needs weights for every check of the mission") in {
        (f.check, f.subject, f.reason) for f in found
    }
    assert len({(f.check, f.subject) for f in found}) == 6
