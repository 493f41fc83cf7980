"""The tables of a report, on hand-made windows and rows: every figure against the rows that it is made of."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lab.judge.stats.observations import Observation, Observations
from lab.judge.stats.recovery_clock import Clock
from lab.judge.tables import accuracy, capacity, faults, gaps
from lab.judge.windows.incidents import Incident
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.judge.witnesses.limits import Limits
from lab.model.capacity import Capacity, OperationCost
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import FAULT, STEADY, WARM_UP, Plan
from lab.model.recovery import CANARY
from lab.model.samples import Layer, Probe, Recall, Request, Rows, Samples
from lab.model.verdict import Finding, Verdict
from tests.pure.evidence_factory import Recipe, make
from tests.pure.window_factory import Watched, fault_window, observed

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
PLAN = make(Recipe(faults=("kill", "latency"), warm_up_s=5, baseline_s=10, clean_s=0, hold_s=5)).plan
KILL, SLOW = PLAN.faults()
BASELINE = Window("baseline", STEADY, 10_000.0, 60_000.0)
WARM = Window("warm-up", WARM_UP, 0.0, 10_000.0)
SPAN = Window(KILL.id, FAULT, 61_000.0, 90_000.0, KILL.id)
STEP = Window(KILL.id, FAULT, 60_000.0, 90_000.0, KILL.id)


def event(seq: int, at_ms: float, kind: str, **data: Any) -> Event:
    return Event(seq, "run", at_ms, "", kind, data)


STARTED = event(0, 0.0, "run_started", host={"cpus": 2})


def run(*events: Event, plan: Plan = PLAN, **samples: Sequence[Any]) -> Evidence:
    rows = {name: Rows(values) for name, values in samples.items()}
    return Evidence(plan, Journal((STARTED, *events)), Samples(**rows))


def windows(*found: Any, **changes: Any) -> Windows:
    usual = Windows((WARM, BASELINE, STEP), (BASELINE,), found, 0.0, 90_000.0)
    return replace(usual, **changes)


def finding(subject: str, verdict: Verdict) -> Finding:
    return Finding("latency", subject, verdict, verdict, "", n=1, evidence=("journal:0",))


def recall(at_ms: float, number: int, hits: int = 10, mode: str = "dense", answered: bool = True) -> Recall:
    layer = Layer.OK if answered else Layer.IS_ERROR
    return Recall(at_ms, at_ms + 30, mode, f"q{number:02d}", answered, hits if answered else 0, 10, layer, "")


def request(
    at_ms: float, took_ms: float | None = 40.0, op: str = "search", layer: Layer = Layer.OK
) -> Request:
    done_ms, sent_ms = None if took_ms is None else at_ms + took_ms, None if layer is Layer.UNSENT else at_ms
    return Request(at_ms, sent_ms, done_ms, op, layer is Layer.OK, layer, "", "0000")


def test_accuracy_has_a_row_for_each_subject_and_mode_with_the_figures_of_each_window() -> None:
    rows = [recall(20_000 + n, n, 10 if n else 0) for n in range(20)]
    rows += [recall(30_000 + n, n, answered=False) for n in range(3)]
    rows += [
        recall(62_000.0, 1, 4),
        recall(88_000.0, 2),
        recall(20_500.0, 3, 5, "sparse"),
        recall(20_501.0, 4, 10, "sparse"),
    ]
    fault = fault_window(KILL, SPAN, recovering=Observation(79_990.0, 80_000.0, True))
    found = accuracy.describe(run(recall=rows), windows(fault, fault_window(SLOW, None)), [])
    assert [(r["subject"], r["mode"]) for r in found] == [
        (subject, mode) for subject in ("steady", "kill", "latency") for mode in ("dense", "sparse")
    ]
    steady, sparse, kill, _, none, _ = found
    assert (steady["answered"], steady["unanswered"], steady["recall_mean"]) == (20, 3, 0.95)
    ends: Any = steady["recall_ci"]
    assert 0.7 < ends[0] < 0.95 < ends[1] <= 1.0
    assert steady["recall_p10"] == 1.0
    figures = {"answered": 20, "unanswered": 3, "recall_mean": 0.95}
    assert steady["windows"] == [{"window": "baseline", **figures}]
    assert (sparse["answered"], sparse["recall_mean"], sparse["recall_p10"]) == (2, 0.75, 0.5)
    assert (kill["answered"], kill["recall_mean"]) == (1, 0.4), "what came after the recovery is left out"
    assert none["windows"] == [] and none["recall_ci"] is None and none["recall_p10"] is None
    assert (none["answered"], none["unanswered"], none["recall_mean"]) == (0, 0, None)
    empty = accuracy.describe(run(), windows(), [])
    assert [(r["subject"], r["mode"]) for r in empty] == [("steady", "dense")]


def test_the_two_windows_of_one_kind_make_one_row() -> None:
    second = replace(KILL, id="again")
    later = replace(SPAN, name="again", from_ms=100_000.0, to_ms=120_000.0)
    rows = [recall(62_000.0, 1, 4), recall(101_000.0, 1, 8)]
    found = accuracy.describe(
        run(recall=rows), windows(fault_window(KILL, SPAN), fault_window(second, later)), []
    )
    assert found[1]["recall_mean"] == 0.6000000000000001 and found[1]["answered"] == 2
    shown: Any = found[1]["windows"]
    assert [w["window"] for w in shown] == [KILL.id, "again"]


COSTS = {"list": OperationCost(100.0, 10.0, 11.0, 20), "search": OperationCost(20.0, 45.0, 46.0, 21)}


def test_the_capacity_is_shown_with_what_load_and_observer_take_of_it() -> None:
    measured = Capacity(COSTS, 25.0, 1.0, 9.0, short=True)
    (row,) = capacity.describe(run(plan=replace(PLAN, capacity=measured)), windows(), [])
    observer_hz = PLAN.observer_hz()
    operations: Any = row.pop("operations")
    assert row == {
        "words": measured.in_words(PLAN.load_per_s(), observer_hz),
        "mix_per_s": 25.0,
        "side_by_side": 1.0,
        "took_s": 9.0,
        "short": True,
        "load_per_s": 4.0,
        "load_share": 0.16,
        "observer_share": measured.share(observer_hz),
    }
    assert operations[1] == {
        "op": "search",
        "mix_percent": 40,
        "observer_hz": observer_hz["search"],
        "calls_per_s": 20.0,
        "latency_ms": 45.0,
        "cpu_ms": 46.0,
        "calls": 21,
    }
    other = Capacity({**COSTS, "other": OperationCost(1.0, 1.0, 1.0, 1)}, 25.0, 1.0, 9.0)
    (row,) = capacity.describe(run(plan=replace(PLAN, capacity=other)), windows(), [])
    shown: Any = row["operations"]
    assert [(r["op"], r["mix_percent"], r["observer_hz"]) for r in shown][1] == ("other", 0, 0.0)
    assert capacity.describe(run(plan=replace(PLAN, capacity=None)), windows(), []) == []


def test_a_fault_is_shown_with_its_times_its_effect_and_its_recoveries() -> None:
    def proof(moment: str, measured: float) -> Event:
        return event(5, 62_000.0, "proof", moment=moment, measured=measured, unit="ms", holds=True)

    events = (
        proof("before", 1.0),
        proof("during", 300.0),
        proof("after", 2.0),
        event(8, 61_500.0, "fault_in_force"),
        event(9, 70_000.0, "fault_healed"),
    )
    clocks = (Clock(4.0, 4.5, False), Clock(13.0, 13.5, False))
    fault = fault_window(
        KILL,
        SPAN,
        events=events,
        cleared_ms=70_000.0,
        stream=Watched(observed(61_000.0, 90_000.0, 250.0, 74_500.0)),
        recovering=Observation(74_500.0, 74_510.0, True),
        recovery=clocks,
    )
    looks = [
        Probe(70_000.0 + 500 * n, 70_005.0 + 500 * n, "store_idle", "busy" if n < 4 else "ok", "")
        for n in range(30)
    ]
    found = [finding(KILL.id, FAIL), finding(KILL.id, PASS), finding("steady", INCONCLUSIVE)]
    row, never = faults.describe(
        run(probes=looks), windows(fault, fault_window(SLOW, None, doubts=("x",))), found
    )
    recovery: Any = row.pop("recovery")
    assert row.pop("backlog") is not None
    assert row == {
        "id": KILL.id,
        "kind": "kill",
        "target": "qdrant",
        "params": {},
        "injected_ms": 61_050.0,
        "proven_ms": 61_500.0,
        "healed_ms": 70_000.0,
        "effect": {"before": 1.0, "during": 300.0, "after": 2.0, "unit": "ms", "holds": True},
        "verdict": "fail",
    }
    assert recovery["from_heal"]["slo"] == {"lo_s": 4.0, "hi_s": 4.5, "censored": False}
    assert recovery["from_injection"]["slo"] == {"lo_s": 13.0, "hi_s": 13.5, "censored": False}
    assert recovery["from_heal"]["answers"]["hi_s"] == recovery["from_heal"]["recall"]["hi_s"] == 4.51
    assert recovery["from_heal"]["idle"] == {"lo_s": 1.5, "hi_s": 2.005, "censored": False}
    assert (recovery["detected_s"], recovery["detected"]) == (
        0.01,
        {"lo_s": 0.0, "hi_s": 0.01, "censored": False},
    )
    assert recovery["slower_limits_ms"] == {}
    assert (never["injected_ms"], never["proven_ms"], never["backlog"], never["verdict"]) == (
        None,
        None,
        None,
        "inconclusive",
    )
    assert never["effect"] == {"before": None, "during": None, "after": None, "unit": None, "holds": False}
    nothing: Any = never["recovery"]
    assert nothing["detected_s"] is None and set(nothing["from_heal"].values()) == {None}


def test_half_a_proof_shows_its_unit_and_limits_above_the_slo_are_shown() -> None:
    stream = Watched(limits=Limits(200.0, 0.9, {"list": 450.0}))
    for moment in ("before", "during"):
        proof = event(5, 62_000.0, "proof", moment=moment, measured=1.0, unit="ms", holds=True)
        (row,) = faults.describe(run(), windows(fault_window(KILL, SPAN, events=(proof,), stream=stream)), [])
        effect: Any = row["effect"]
        assert effect["unit"] == "ms" and effect[moment] == 1.0
        recovery: Any = row["recovery"]
        assert recovery["slower_limits_ms"] == {"list": 450.0}


def test_harm_counts_until_the_recovery_and_a_pause_that_is_short_for_the_stream_hides_none() -> None:
    def detected(stream: Watched, recovering: Observation | None) -> Any:
        fault = fault_window(KILL, SPAN, stream=stream, recovering=recovering)
        (row,) = faults.describe(run(), windows(fault), [])
        recovery: Any = row["recovery"]
        return recovery["detected"]

    times = [(61_000.0, True), (63_000.0, True), (65_000.0, True), (80_000.0, False)]
    shown = Observations.of(Observation(at, at + 10, good) for at, good in times)
    slow = Watched(shown, rule=replace(CANARY, gap_ms=2500.0))
    assert detected(slow, None) == {"lo_s": 4.0, "hi_s": 19.01, "censored": False}
    assert detected(Watched(shown), None)["lo_s"] == 0.0
    recovered = Observation(65_000.0, 65_010.0, True)
    assert detected(slow, recovered) == {"lo_s": 2.0, "hi_s": None, "censored": True}


def test_gaps_are_the_incidents_within_the_run_and_the_steps_left_out() -> None:
    silence = Incident(-5000.0, 7000.0, frozenset({"recall"}), "no query")
    open_end = Incident(80_000.0, None, None, "it died")
    late = Incident(95_000.0, None, None, "later")
    phase = windows(
        incidents=(open_end, late, silence), phases=(WARM, BASELINE, STEP, replace(STEP, name=SLOW.id))
    )
    assert gaps.describe(run(), phase, []) == [
        {"from_ms": 0.0, "to_ms": 7000.0, "why": "no query"},
        {"from_ms": 80_000.0, "to_ms": 90_000.0, "why": "it died"},
        {"from_ms": 95_000.0, "to_ms": 95_000.0, "why": "later"},
    ]


def test_a_step_that_did_not_end_is_left_out_until_the_planned_end() -> None:
    cut = windows(phases=(WARM, BASELINE, replace(STEP, complete=False)), from_ms=1000.0)
    end_ms = 1000.0 + 1000 * PLAN.duration_s
    left = f"not carried out in full: {KILL.id}, {SLOW.id}"
    (row,) = gaps.describe(run(), cut, [])
    assert row == {"from_ms": 90_000.0, "to_ms": end_ms, "why": f"the journal ends; {left}"}
    stop = event(4, 50.0, "interrupted", why="Ctrl-C")
    assert (
        gaps.describe(run(stop, event(5, 60.0, "lab_failed", why="x")), cut, [])[0]["why"]
        == f"Ctrl-C; {left}"
    )
    assert gaps.describe(run(event(4, 50.0, "lab_failed")), cut, [])[0]["why"] == f"lab_failed; {left}"
    late = replace(cut, to_ms=end_ms + 5)
    assert gaps.describe(run(), late, [])[0] == {
        "from_ms": end_ms + 5,
        "to_ms": end_ms + 5,
        "why": f"the journal ends; {left}",
    }
