"""The check of what crossed the proxy on the target's own connections: figures, bounds and reasons."""

from collections.abc import Sequence
from dataclasses import replace

from lab.judge.checks import traffic
from lab.judge.windows.incidents import Incident
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.journal import Journal
from lab.model.samples import OTHER, PAST, STORE, Layer, Request, Rows, Samples, Traffic
from lab.model.verdict import Bound, Finding, Verdict
from tests.pure.test_judge_observer_checks import BASELINE, CLEAN, DIED, RUN

PASS, INCONCLUSIVE = Verdict.PASS, Verdict.INCONCLUSIVE


def reading(at_ms: float, crossed: int, route: str = STORE, peer: str = "qdrant") -> Traffic:
    """Of the bytes, a quarter was sent and the rest received."""
    return Traffic(at_ms, route, peer, 1, 0, 0, crossed // 4, crossed - crossed // 4)


def call(at_ms: float, op: str = "search", done_ms: float | None = None, ok: bool = True) -> Request:
    layer = Layer.OK if ok else Layer.TRANSPORT
    return Request(at_ms, at_ms, at_ms + 40 if done_ms is None else done_ms, op, ok, layer, "", "0000")


CALLS = [call(1000.0 * n + 500) for n in range(10)]


def crossed(
    rows: Sequence[Traffic],
    requests: Sequence[Request] = tuple(CALLS),
    incidents: tuple[Incident, ...] = (),
    steady: tuple[Window, ...] = (BASELINE,),
) -> Finding:
    windows = Windows(steady, steady, (), 0.0, 200_000.0, incidents=incidents)
    samples = Samples(requests=Rows(requests), traffic=Rows(rows))
    (finding,) = traffic.findings(Evidence(RUN, Journal(()), samples), windows)
    assert (finding.check, finding.subject) == ("traffic", "steady")
    return finding


def test_a_hundred_bytes_for_each_answered_call_are_enough_and_one_less_is_not() -> None:
    finding = crossed([reading(0, 500), reading(20_000, 1500)])
    assert (finding.verdict, finding.gate_verdict, finding.observed, finding.n) == (PASS, PASS, 100.0, 10)
    assert finding.unit == "bytes per answered call that needs the store"
    assert finding.bound == Bound(">=", 100)
    assert finding.evidence == ("samples:traffic[0..100000ms]",)
    words = "bytes of the target's own connections crossed to the store for 10 answered calls"
    assert finding.reason == f"1000 {words}"
    other = reading(30.0, 10, OTHER, "10.0.0.9:6333")
    few = crossed([reading(0, 500), reading(20_000, 1499), other])
    assert (few.verdict, few.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert few.reason == (
        f"999 {words}; it has connections to 10.0.0.9:6333: `environment` in target.yaml must lead to the proxy"
    )
    assert crossed([reading(0, 500), reading(20_000, 1499)]).reason == f"999 {words}"
    assert "it has" not in crossed([reading(0, 500), reading(20_000, 1500), other]).reason


def test_only_calls_that_were_answered_rightly_between_two_readings_and_need_the_store_count() -> None:
    rows = [reading(1000, 0), reading(9000, 1000)]
    more = [
        call(500.0),  # due before the first reading
        call(8990.0, done_ms=9001.0),  # answered after the last
        call(2000.0, "status"),  # needs no store
        call(2000.0, ok=False),
        replace(call(2000.0), done_ms=None),
    ]
    ends = [call(1000.0), call(8000.0, "add", done_ms=9000.0)]
    assert crossed(rows, [*more, *ends]).n == 2
    assert crossed(rows, [*more, *ends]).observed == 500.0
    nothing = crossed(rows, more)
    assert (nothing.verdict, nothing.gate_verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert (
        nothing.reason == "no call that needs the store was answered between two readings of a steady phase"
    )
    assert nothing.evidence == ("samples:traffic[0..100000ms]",)


def test_one_reading_shows_nothing_and_several_phases_are_added_up() -> None:
    assert crossed([reading(0, 0), reading(0, 9000, peer="other")]).n == 0
    rows = [reading(0, 0), reading(20_000, 1000), reading(150_000, 5000), reading(199_000, 6000)]
    both = crossed(rows, [*CALLS, *(call(160_000.0 + n) for n in range(10))], steady=(BASELINE, CLEAN))
    assert (both.n, both.observed) == (20, 100.0)
    assert both.evidence == ("samples:traffic[0..100000ms]", "samples:traffic[150000..200000ms]")


def test_a_store_that_was_reached_past_the_proxy_decides_nothing_and_three_addresses_are_named() -> None:
    past = [reading(120_000.0, 10, PAST, f"10.0.0.{n}:6333") for n in (4, 2, 3, 1)]
    finding = crossed([reading(0, 500), reading(20_000, 5000), *past])
    assert (finding.verdict, finding.gate_verdict, finding.n) == (INCONCLUSIVE, INCONCLUSIVE, 6)
    assert finding.evidence == ("samples:traffic[0..200000ms]",)
    assert finding.reason == (
        "the target's own connections to the store go past the proxy, to 10.0.0.1:6333, 10.0.0.2:6333, 10.0.0.3:6333"
        " and 1 more: `environment` in target.yaml must lead to the proxy"
    )
    three = crossed([reading(0, 500), *past[1:]]).reason
    assert "10.0.0.3:6333: `environment`" in three and "more" not in three
    outside = crossed([reading(0, 0), reading(20_000, 9), reading(120_000.0, 10, OTHER, "10.0.0.9:6333")])
    assert "10.0.0.9" not in outside.reason


def test_readings_that_an_incident_touched_are_left_out() -> None:
    died = Incident(30_000, 40_000, frozenset({"traffic"}), "the reader died", DIED)
    rows = [reading(0, 0), reading(20_000, 1000), reading(35_000, 1000)]
    finding = crossed(rows, incidents=(died,))
    assert (finding.verdict, finding.n) == (PASS, 10)
    assert finding.reason.endswith("; left out is what an incident touched: the reader died (journal:40)")
    assert finding.evidence == ("samples:traffic[0..30000ms]", "samples:traffic[40000..100000ms]")
    for other in (replace(died, event=None), replace(died, streams=frozenset({"host"}))):
        assert "left out" not in crossed(rows, incidents=(other,)).reason
