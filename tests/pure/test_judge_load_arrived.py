"""Whether the load arrived: the rows against what was due, and against what the chunks say they delivered."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lab.judge.checks import load_arrived
from lab.judge.windows.fault_window import FaultWindow
from lab.judge.windows.incidents import Incident
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import FAULT, STEADY, WARM_UP, Plan, Step
from lab.model.samples import Layer, Request, Rows, Samples
from lab.model.verdict import Bound, Finding, Verdict
from tests.pure.evidence_factory import LOAD, Recipe, make
from tests.pure.window_factory import fault_window

PASS, INCONCLUSIVE, NOT_TESTED = Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.NOT_TESTED
PLAN = make(Recipe(faults=("kill",), warm_up_s=5, baseline_s=10, clean_s=0, hold_s=5)).plan
KILL = PLAN.faults()[0]
STEADY_PHASE = Window("baseline", STEADY, 10_000.0, 60_000.0)
KILL_SPAN = Window(KILL.id, FAULT, 60_000.0, 70_000.0, KILL.id)
EVENT = Event(40, "run", 30_000.0, "", "sampler_died", {})


def request(at_ms: float, sent: bool = True, source: str = "0000") -> Request:
    layer = Layer.OK if sent else Layer.UNSENT
    return Request(at_ms, at_ms if sent else None, at_ms + 40, "search", sent, layer, "", source)


def requests(from_ms: float, to_ms: float, unsent: int = 0) -> list[Request]:
    """Every 250 ms; of these the first few were not sent."""
    times = range(int(from_ms), int(to_ms), 250)
    return [request(float(at), n >= unsent) for n, at in enumerate(times)]


def chunk(number: str, due: int = 240, **changes: Any) -> list[Event]:
    """The begin and the end of a chunk of the plan's load, which delivered 240 rows."""
    begin = 60_000.0 * int(number)
    about = {"chunk": number, "profile": LOAD.name, "script": LOAD.script, "load_began_ms": 0.0}
    about |= {"scheduled_start_ms": begin, "duration_ms": 60_000.0, "due": due}
    counts = {"chunk": number, "exit_code": 0, "rows": 240, "truncated": False}
    drafts = [("load_chunk_started", about), ("load_chunk_ended", counts)]
    return [
        Event(0, "run", begin, "", kind, {k: changes.get(k, v) for k, v in data.items()})
        for kind, data in drafts
    ]


def findings(
    rows: Sequence[Request],
    events: Sequence[Event] = (),
    plan: Plan = PLAN,
    incidents: tuple[Incident, ...] = (),
    faults: tuple[FaultWindow, ...] = (),
    phases: tuple[Window, ...] = (STEADY_PHASE,),
) -> dict[str, Finding]:
    journal = Journal(tuple(replace(event, seq=seq) for seq, event in enumerate(events)))
    windows = Windows(phases, (STEADY_PHASE,), faults, 0, 70_000, incidents=incidents)
    found = load_arrived.findings(Evidence(plan, journal, Samples(requests=Rows(rows))), windows)
    assert {finding.check for finding in found} == {"load_arrived"}
    return {finding.subject: finding for finding in found}


def test_nine_tenths_of_the_due_requests_are_enough_and_one_less_is_not() -> None:
    """In 50 s at 4/s, 199 requests are due wherever the first one falls; nine tenths of them are 179.1."""
    all_sent = findings(requests(10_000, 60_000))["steady"]
    assert (all_sent.verdict, all_sent.gate_verdict, all_sent.observed, all_sent.n) == (PASS, PASS, 1.0, 200)
    assert (all_sent.unit, all_sent.bound) == ("share of the due requests", Bound(">=", 0.9))
    assert all_sent.evidence == ("samples:requests[10000..60000ms]",)
    enough = findings(requests(10_000, 60_000, unsent=20))["steady"]
    assert (enough.verdict, enough.n, enough.observed) == (PASS, 200, 180 / 199)
    assert enough.reason == "180 requests were sent where at least 199 were due"
    few = findings(requests(10_000, 60_000, unsent=21))["steady"]
    assert (few.verdict, few.gate_verdict, few.observed) == (INCONCLUSIVE, INCONCLUSIVE, 179 / 199)


def test_exactly_nine_tenths_are_enough() -> None:
    """In 2.75 s, 10 requests are due."""
    span = replace(KILL_SPAN, to_ms=62_750.0)
    rows = requests(60_000, 62_750, unsent=2)
    found = findings(rows, faults=(fault_window(KILL, span),))[KILL.id]
    assert (found.verdict, found.observed) == (PASS, 0.9)
    fewer = findings(requests(60_000, 62_750, unsent=3), faults=(fault_window(KILL, span),))[KILL.id]
    assert (fewer.verdict, fewer.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)


def test_where_nothing_was_sent_or_nothing_due_nothing_is_decided() -> None:
    nothing = findings(requests(10_000, 60_000, unsent=200))["steady"]
    assert (nothing.verdict, nothing.n) == (INCONCLUSIVE, 200)
    assert nothing.reason == "0 requests were sent where 199 were due"
    assert nothing.evidence == ("samples:requests[10000..60000ms]",)
    span = replace(KILL_SPAN, to_ms=60_400.0)
    short = findings([request(60_100.0)], faults=(fault_window(KILL, span),))[KILL.id]
    assert short.reason == "1 requests were sent where 0 were due"
    one = findings([request(60_100.0)], faults=(fault_window(KILL, replace(span, to_ms=60_600.0)),))[KILL.id]
    assert (one.verdict, one.n) == (PASS, 1)


def test_a_fault_s_window_is_judged_by_its_own_rows() -> None:
    faults = (fault_window(KILL, KILL_SPAN),)
    found = findings(requests(10_000, 60_000), faults=faults)
    assert (found["steady"].verdict, found[KILL.id].verdict) == (PASS, INCONCLUSIVE)
    assert found[KILL.id].reason == "0 requests were sent where 39 were due"
    assert findings(requests(60_000, 70_000), faults=faults)[KILL.id].verdict is PASS
    never = findings((), faults=(fault_window(KILL, None),))[KILL.id]
    assert never.verdict is INCONCLUSIVE
    assert never.reason == "the fault was never injected, so it has no window"


def test_where_the_plan_has_no_load_nothing_is_tested() -> None:
    silent = replace(PLAN, steps=tuple(replace(step, load=None) for step in PLAN.steps))
    found = findings((), plan=silent, faults=(fault_window(KILL, KILL_SPAN),))
    for subject in ("steady", KILL.id):
        assert (found[subject].verdict, found[subject].reason) == (NOT_TESTED, "the plan has no load here")
    # A load in another kind of step is none of the steady phases.
    warm = tuple(s if s.kind == WARM_UP else replace(s, load=None) for s in PLAN.steps)
    assert findings((), plan=replace(PLAN, steps=warm))["steady"].verdict is NOT_TESTED
    # One loaded phase is enough, and a plan without a steady step says nothing of it.
    more = (*PLAN.steps, Step("clean", STEADY, 10))
    assert findings(requests(10_000, 60_000), plan=replace(PLAN, steps=more))["steady"].verdict is PASS
    none = tuple(step for step in PLAN.steps if step.kind != STEADY)
    assert "steady" not in findings((), plan=replace(PLAN, steps=none))


def test_what_an_incident_lost_is_left_out_of_the_steady_phases_and_puts_a_fault_in_doubt() -> None:
    lost = Incident(20_000, 40_000, frozenset({"requests"}), "the load broke", EVENT)
    holed = [row for row in requests(10_000, 70_000) if not 20_000 <= row.scheduled_ms < 40_000]
    found = findings(holed, incidents=(lost,))["steady"]
    # With the hole, 120 of 199 were sent; without it, 120 of the 118 that are sure to be due.
    assert (found.verdict, found.observed, found.n) == (INCONCLUSIVE, 1.0, 120)
    assert found.reason == (
        "120 requests were sent where at least 118 were due; "
        "left out is what an incident touched: the load broke (journal:40)"
    )
    in_fault = replace(lost, from_ms=61_000, to_ms=62_000)
    faults = (fault_window(KILL, KILL_SPAN),)
    doubted = findings(requests(10_000, 70_000), incidents=(in_fault,), faults=faults)
    assert (doubted["steady"].verdict, doubted[KILL.id].verdict) == (PASS, INCONCLUSIVE)
    assert doubted[KILL.id].reason.startswith(
        "an incident touched its evidence: the load broke (journal:40); 40"
    )


@pytest.mark.parametrize(
    "change", [{"event": None}, {"times_only": True}, {"streams": frozenset({"recall"})}]
)
def test_what_lost_no_request_touches_nothing(change: dict[str, Any]) -> None:
    """A silence counts as missing, a step of the clock loses no row, and another stream is not the load's."""
    lost = Incident(20_000, 65_000, frozenset({"requests"}), "the load broke", EVENT)
    faults = (fault_window(KILL, KILL_SPAN),)
    for incident, verdict in ((lost, INCONCLUSIVE), (replace(lost, **change), PASS)):
        rows = [r for r in requests(10_000, 70_000) if r.scheduled_ms >= 15_000]
        found = findings(rows, incidents=(incident,), faults=faults)
        assert found[KILL.id].verdict is verdict
        assert ("left out" in found["steady"].reason) is (verdict is INCONCLUSIVE)


ROWS = requests(0, 120_000)
TWO = [*chunk("0000"), *chunk("0001")]


def test_chunks_that_delivered_the_rows_of_the_table_pass() -> None:
    found = findings(ROWS, TWO)["chunks"]
    assert (found.verdict, found.gate_verdict, found.n) == (PASS, PASS, 480)
    assert found.reason == "2 chunks delivered the 480 rows of the table (exit codes 0)"
    assert found.evidence == ("journal:0", "journal:1", "journal:2", "journal:3")
    odd = [*chunk("0000", truncated=True), *chunk("0001", exit_code=99, truncated=True)]
    assert findings(ROWS, odd)["chunks"].reason == (
        "2 chunks delivered the 480 rows of the table (exit codes 0, 99);"
        " the raw points of chunk 0000, 0001 are cut off"
    )
    cut = [*chunk("0000", rows=480), *chunk("0001")[:1]]
    assert findings(ROWS, cut)["chunks"].reason == (
        "1 chunks delivered the 480 rows of the table (exit codes 0); 1 chunks have no recorded end"
    )


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([*chunk("0000"), *chunk("0001", rows=239)], "the chunks delivered 479 rows, the table has 480"),
        ([*TWO, *chunk("0002", rows=0)[1:]], "2 chunks started and 3 ended"),
        ([*chunk("0000"), *chunk("0001", due=241)], "chunk 0001 ran another load than planned"),
        (
            [*chunk("0000", due=241), *chunk("0001", due=241)],
            "chunk 0000, 0001 ran another load than planned",
        ),
        ((), "no chunk of load was delivered; the chunks delivered 0 rows, the table has 480"),
    ],
)
def test_counts_that_disagree_are_told_exactly(events: Sequence[Event], reason: str) -> None:
    found = findings(ROWS, events)["chunks"]
    assert (found.verdict, found.gate_verdict, found.reason, found.n) == (
        INCONCLUSIVE,
        INCONCLUSIVE,
        reason,
        480,
    )
    assert len(found.evidence) == len(events)


def test_chunks_without_a_row_and_chunks_of_older_journals() -> None:
    empty = findings((), chunk("0000", rows=0))["chunks"]
    assert (empty.verdict, empty.reason) == (INCONCLUSIVE, "1 chunks of load delivered no request at all")

    def older(rate_per_s: float) -> list[Event]:
        began, ended = chunk("0000", rows=480)
        return [replace(began, data={"chunk": "0000", "rate_per_s": rate_per_s}), ended]

    assert findings(ROWS, older(4.0))["chunks"].verdict is PASS
    slower = findings(ROWS, older(3.0))["chunks"]
    assert (slower.verdict, slower.reason) == (INCONCLUSIVE, "a chunk ran at another rate than planned")


def test_a_chunk_in_a_step_with_another_load_and_a_repeated_id_are_told() -> None:
    other = replace(LOAD, name="other")
    clean = Window("clean", STEADY, 60_000.0, 130_000.0)
    plan = replace(PLAN, steps=(*PLAN.steps, Step("clean", STEADY, 60, load=other)))
    phases = (replace(STEADY_PHASE, from_ms=0.0), clean)
    rows = [replace(r, source=f"000{int(r.scheduled_ms // 60_000)}", id=f"r{n}") for n, r in enumerate(ROWS)]
    found = findings(rows, TWO, plan=plan, phases=phases)["chunks"]
    assert found.verdict is INCONCLUSIVE
    assert found.reason == "chunk 0001 sent its load in a step with another load"
    rows = [replace(r, id="same" if n in (3, 5) else f"r{n}") for n, r in enumerate(ROWS)]
    found = findings(rows, TWO)["chunks"]
    assert found.reason == "1 request ids occur twice or more, such as same"
    both = [replace(r, source=f"000{1 - int(r.scheduled_ms // 60_000)}") for r in ROWS]
    third = Step("clean-2", STEADY, 60, load=replace(LOAD, name="third"))
    plan = replace(PLAN, steps=(replace(third, name="baseline"), *PLAN.steps[2:], plan.steps[-1]))
    plan = replace(plan, steps=(*plan.steps, replace(PLAN.steps[1], name="last")))
    found = findings(both, TWO, plan=plan, phases=phases)["chunks"]
    assert found.reason == "chunk 0000, 0001 sent its load in a step with another load"
