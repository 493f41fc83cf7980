"""Which time counts: windows without their holes, what an incident touches, and what it does to a verdict."""

from collections.abc import Sequence

import pytest

from lab.judge.windows.incidents import Incident
from lab.judge.windows.touched import described, excused, judged_apart, put_in_doubt, touching
from lab.judge.windows.window import Window, apart, within, without
from lab.model.journal import Event
from lab.model.samples import HostReading, Rows
from lab.model.verdict import Finding, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def window(from_ms: float, to_ms: float) -> Window:
    return Window("baseline", "steady", from_ms, to_ms)


def times(windows: Sequence[Window]) -> list[tuple[float, float]]:
    return [(window.from_ms, window.to_ms) for window in windows]


def incident(
    from_ms: float,
    to_ms: float | None,
    why: str = "the disk was full",
    streams: frozenset[str] | None = None,
    seq: int | None = None,
) -> Incident:
    event = None if seq is None else Event(seq, "run", from_ms, "", "lab_error", {})
    return Incident(from_ms, to_ms, streams, why, event)


def finding(verdict: Verdict, gate: Verdict | None = None, fail_touched: bool = False) -> Finding:
    return Finding(
        "errors",
        "steady",
        verdict,
        gate or verdict,
        "as counted",
        n=10,
        evidence=("journal:1",),
        fail_touched=fail_touched,
    )


def test_a_window_holds_its_begin_and_not_its_end() -> None:
    assert [window(1000, 3000).holds(at_ms) for at_ms in (999, 1000, 2999, 3000)] == [
        False,
        True,
        True,
        False,
    ]
    assert window(1000, 3500).seconds == 2.5
    assert window(1000, 1500).seconds == 0.5
    assert window(3000, 1000).seconds == 0.0


def test_a_row_in_two_windows_counts_once_and_in_order_of_time() -> None:
    rows = Rows(HostReading(at_ms, "lab_cpu_s", 0.0) for at_ms in range(0, 100, 10))
    spans = [window(60, 80), window(0, 30), window(10, 20), window(20, 40)]
    assert [row.at_ms for row in within(rows, spans)] == [0, 10, 20, 30, 60, 70]
    assert times(list(apart(spans))) == [(0, 30), (30, 20), (30, 40), (60, 80)]
    # Of two windows that begin together, the shorter comes first, so the longer one is cut.
    assert times(list(apart([window(0, 30), window(0, 10)]))) == [(0, 10), (10, 30)]


@pytest.mark.parametrize(
    ("holes", "left"),
    [
        ([], [(10, 50)]),
        ([(20, 30)], [(10, 20), (30, 50)]),
        ([(0, 20)], [(20, 50)]),
        ([(40, 60)], [(10, 40)]),
        ([(10, 50)], []),
        ([(0, 60)], []),
        # A hole that only meets the window takes nothing.
        ([(0, 10), (50, 60)], [(10, 50)]),
        ([(30, 40), (15, 20), (18, 25)], [(10, 15), (25, 30), (40, 50)]),
        # A hole beyond the window does not end the search.
        ([(60, 70), (0, 5), (20, 30)], [(10, 20), (30, 50)]),
    ],
)
def test_a_window_without_its_holes(
    holes: list[tuple[float, float]], left: list[tuple[float, float]]
) -> None:
    pieces = without([window(10, 50)], holes)
    assert times(pieces) == left
    assert {(piece.name, piece.phase) for piece in pieces} <= {("baseline", "steady")}


def test_only_incidents_of_the_stream_that_overlap_a_window_touch_it() -> None:
    load, all_streams = incident(10, 20, streams=frozenset({"requests"})), incident(100, 110)
    both = [load, all_streams]
    spans = [window(0, 15), window(105, 106)]
    assert touching(both, "requests", spans) == both
    # The windows may come from a generator, which can be read once.
    assert touching(both, "requests", iter(spans)) == both
    assert touching(both, "probes", spans) == [all_streams]
    assert touching(both, "requests", [window(20, 100)]) == []


@pytest.mark.parametrize(
    ("whole", "rest", "together"),
    [
        (PASS, PASS, PASS),
        (FAIL, PASS, INCONCLUSIVE),
        (INCONCLUSIVE, PASS, INCONCLUSIVE),
        (PASS, INCONCLUSIVE, INCONCLUSIVE),
        (FAIL, INCONCLUSIVE, INCONCLUSIVE),
        (PASS, FAIL, FAIL),
        (FAIL, FAIL, FAIL),
        (INCONCLUSIVE, FAIL, FAIL),
    ],
)
def test_a_pass_needs_the_whole_and_the_rest_and_a_failure_the_rest(
    whole: Verdict, rest: Verdict, together: Verdict
) -> None:
    """Verdict and gate each by themselves; the other one is INCONCLUSIVE throughout."""

    def of_verdict(holes: Sequence[tuple[float, float]]) -> Finding:
        assert list(holes) in ([], [(10.0, 20.0), (30.0, 31.0)])
        return finding(rest if holes else whole, INCONCLUSIVE)

    def of_gate(holes: Sequence[tuple[float, float]]) -> Finding:
        return finding(INCONCLUSIVE, rest if holes else whole)

    touched = [incident(10, 20, seq=4), incident(30, 30)]
    judged = judged_apart(of_verdict, touched)
    assert (judged.verdict, judged.gate_verdict, judged.fail_touched) == (together, INCONCLUSIVE, False)
    reason = (
        "as counted; left out is what an incident touched: the disk was full (journal:4), the disk was full"
    )
    assert judged.reason == reason
    judged = judged_apart(of_gate, touched)
    assert (judged.verdict, judged.gate_verdict) == (INCONCLUSIVE, together)
    assert judged.fail_touched is (whole is FAIL)


def test_a_failure_that_an_earlier_incident_touched_is_remembered() -> None:
    remembered = finding(INCONCLUSIVE, fail_touched=True)
    assert judged_apart(lambda _: remembered, [incident(10, 20)]).fail_touched
    assert put_in_doubt(remembered, [incident(10, 20)]).fail_touched
    assert not put_in_doubt(finding(INCONCLUSIVE), [incident(10, 20)]).fail_touched


def test_without_an_incident_a_finding_is_as_it_was() -> None:
    judged = finding(FAIL)
    assert judged_apart(lambda holes: finding(PASS) if holes else judged, []) is judged
    assert put_in_doubt(judged, []) is judged


@pytest.mark.parametrize("verdict", [PASS, FAIL])
def test_a_finding_that_is_judged_as_a_whole_is_undecided_by_any_incident(verdict: Verdict) -> None:
    judged = put_in_doubt(finding(verdict), [incident(10, 20, seq=4)])
    assert (judged.verdict, judged.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert judged.fail_touched is (verdict is FAIL)
    assert judged.reason == "an incident touched its evidence: the disk was full (journal:4); as counted"


def test_three_incidents_are_named_each_once_and_the_others_counted() -> None:
    named = [incident(10, 20, why) for why in ("one", "two", "one", "three")]
    assert described(named) == "one, two, three"
    assert described([*named, incident(1, 2, "four")]) == "one, two, three, and 1 more"
    assert (
        described([*named, incident(1, 2, "four"), incident(1, 2, "five")]) == "one, two, three, and 2 more"
    )


@pytest.mark.parametrize(
    ("found", "shorter", "excused_to"),
    [
        ((FAIL, FAIL), (PASS, PASS), (INCONCLUSIVE, INCONCLUSIVE)),
        ((FAIL, FAIL), (INCONCLUSIVE, FAIL), (INCONCLUSIVE, FAIL)),
        ((FAIL, FAIL), (FAIL, PASS), (FAIL, INCONCLUSIVE)),
        ((FAIL, FAIL), (FAIL, FAIL), None),
        ((FAIL, PASS), (PASS, PASS), (INCONCLUSIVE, PASS)),
        ((PASS, FAIL), (PASS, PASS), (PASS, INCONCLUSIVE)),
        ((INCONCLUSIVE, FAIL), (PASS, PASS), (INCONCLUSIVE, INCONCLUSIVE)),
        # What did not fail is never excused, and a pass stays one.
        ((PASS, PASS), (FAIL, FAIL), None),
        ((INCONCLUSIVE, INCONCLUSIVE), (PASS, PASS), None),
    ],
)
def test_a_failure_is_excused_where_it_does_not_stand_without_the_others(
    found: tuple[Verdict, Verdict],
    shorter: tuple[Verdict, Verdict],
    excused_to: tuple[Verdict, Verdict] | None,
) -> None:
    judged = finding(*found)
    after = excused(judged, shorter, "all else took 50% of its CPU")
    if excused_to is None:
        assert after is judged
        return
    assert (after.verdict, after.gate_verdict) == excused_to
    assert after.fail_touched is (found[1] is FAIL)
    assert after.reason == (
        "as counted; the machine was starved: all else took 50% of its CPU, and without them it may have been in time"
    )
