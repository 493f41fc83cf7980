"""The instrument at a server that answers one call at a time: short real outages, and what may never be certified."""

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from lab.model.plan import BY_CANARY, BY_LOAD, BY_TRUTH
from lab.model.samples import Layer, Probe, Request, Samples
from lab.observe.queue_server import COST_MS, KINDS
from lab.run.calibration import at_once
from lab.run.calibration.backlog import worked_off
from lab.run.calibration.comparison import CALM_MS, Answered, Record, certify
from lab.run.calibration.in_turn import Course, bounded_observer, watch

# What the lab did before it had a budget: ten canary probes a second, each given up after 460 ms.
UNBOUNDED = replace(at_once.PLAN, recall_hz=1.5, witnesses=(BY_CANARY, BY_LOAD, BY_TRUTH))
# Twice the usual load, so that 20 observations take half the time, and a time limit that the longer outages exceed.
SHORT = Course(
    4, 3, quiet_s=4.0, rate_per_s=8.0, hold_s=(0.9, 1.8), gap_s=(4.2, 4.4), request_timeout_ms=1000
)
TOO_OFTEN = Course(
    2, 3, quiet_s=4.0, hold_s=(0.9, 1.8), gap_s=(6.0, 6.2), request_timeout_ms=1000, unbounded=UNBOUNDED
)
FULL = Course(outages=52, seed=1)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Record]:
    """Half a minute of the real load and observer against the real server, bounded and unbounded side by side."""
    folders = [tmp_path_factory.mktemp("in_turn") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        bounded, unbounded = pool.map(
            lambda folder, course: watch(folder, course, lambda text: None), folders, (SHORT, TOO_OFTEN)
        )
    return bounded, unbounded


def test_the_measured_recoveries_agree_with_the_load_alone(records: tuple[Record, Record]) -> None:
    certificate = certify(records[0])
    assert [outage.kind for outage in certificate.outages] == [*KINDS, *KINDS]
    for outage in certificate.counted:
        assert outage.agrees and outage.holds(outage.together), outage
        assert outage.lab_calls <= outage.lab_calls_max
        assert outage.width_ms < 300
    assert certificate.counted, "the machine held the server up in every outage"
    assert certificate.verdict == "inconclusive", "four outages are no certificate"


def test_an_unbounded_observer_measures_rightly_what_it_has_itself_caused(
    records: tuple[Record, Record],
) -> None:
    """The negative control: the interval holds the true recovery, which is no longer that of the load alone."""
    certificate = certify(records[1])
    assert certificate.verdict == "fail"
    assert any("agree with the load alone" in flaw for flaw in certificate.flaws)
    for outage in certificate.counted:
        assert outage.alone is not None and outage.together is not None
        assert not outage.agrees and outage.holds(outage.together), outage
        assert outage.together.first_ms > 1000 + outage.alone.first_ms
        assert outage.lab_calls > 5 * outage.lab_calls_max


def test_a_falsified_truth_fails(records: tuple[Record, Record]) -> None:
    for shift_ms in (900.0, -900.0):
        certificate = certify(records[0], shift_ms=shift_ms)
        assert certificate.verdict == "fail"
        assert not any(outage.agrees for outage in certificate.outages)


def test_the_server_works_off_its_calls_as_the_arithmetic_says(records: tuple[Record, Record]) -> None:
    """Calls of one outage and the calm before it, load and lab, those included whose caller has given up."""
    for record in records:
        for outage in record.truths:
            around = [
                call for call in record.calls if outage[1] - CALM_MS <= call.arrived_ms < outage[2] + 4000
            ]
            # From the first call on that found nothing before it.
            first = next(
                n for n, call in enumerate(around) if call.done_ms - call.arrived_ms < COST_MS + 1e-6
            )
            around = around[first:]
            assert around[0].arrived_ms < outage[1]
            expected = worked_off([call.arrived_ms for call in around], outage)
            for call, (_, done_ms) in zip(around, expected, strict=True):
                assert call.done_ms == pytest.approx(done_ms, abs=COST_MS / 4)
                assert call.answered_ms >= call.done_ms - 2


def test_calls_that_were_given_up_are_worked_off_like_the_others(records: tuple[Record, Record]) -> None:
    record = records[0]
    given_up = [request for request in record.samples.requests if request.layer is Layer.TRANSPORT]
    assert given_up and all(request.done_ms is None for request in given_up)
    assert sum(call.of_load for call in record.calls) == len(record.samples.requests)


# ---- what a certificate requires, at a simulated server


def simulated(
    course: Course = FULL, *, lab_hz: float = 0.0, spoil: Callable[[Request], Request] = lambda row: row
) -> Record:
    """What a perfect observer would have recorded; the lab asks at `lab_hz`."""
    truths = tuple(course.schedule(21_000.0))
    end_ms = truths[-1][2] + 1000 * course.gap_s[0]
    calls: list[Answered] = []
    begins = [0.0, *(start - CALM_MS for _, start, _ in truths[1:]), end_ms]
    for outage, from_ms, to_ms in zip(truths, begins, begins[1:], strict=False):
        who = dict.fromkeys(_every(1000 / course.rate_per_s, from_ms, to_ms), True)
        who |= {at_ms + 7: False for at_ms in _every(1000 / lab_hz if lab_hz else math.inf, from_ms, to_ms)}
        arrivals = sorted(who)
        calls += [Answered(who[a], a, done, done) for a, done in worked_off(arrivals, outage)]
    rows = [spoil(_request(call)) for call in calls if call.of_load]
    probes = [
        Probe(call.arrived_ms, call.done_ms, course.target.canary, "ok", "")
        for call in calls
        if not call.of_load
    ]
    return Record(
        target=course.target,
        observer=course.observer,
        bounded=bounded_observer(course.target),
        load=course.load(),
        planned=course.outages,
        truths=truths,
        samples=Samples(requests=rows, probes=probes),  # type: ignore[arg-type]
        calls=tuple(calls),
        quiet_from_ms=1000.0,
        end_ms=end_ms,
    )


def _every(period_ms: float, from_ms: float, to_ms: float) -> Iterable[float]:
    number = math.ceil(from_ms / period_ms)
    while number * period_ms < to_ms and math.isfinite(period_ms):
        yield number * period_ms
        number += 1


def _request(call: Answered) -> Request:
    at_ms, done_ms = call.arrived_ms, call.done_ms
    return Request(at_ms, at_ms, done_ms, "search_dense", True, Layer.OK, "", "", hits=10, k=10)


@pytest.fixture(scope="module")
def perfect() -> Record:
    return simulated()


def test_a_perfect_observer_gets_its_certificate(perfect: Record) -> None:
    certificate = certify(perfect)
    assert (certificate.verdict, certificate.flaws) == ("pass", ())
    assert certificate.lines()[-1] == "PASS"
    assert all(outage.holds(outage.alone) for outage in certificate.outages), "nobody asked beside the load"
    assert certificate.facts()["verdict"] == "pass"


def test_a_lab_within_its_budget_passes_and_one_beyond_it_does_not() -> None:
    bounded = certify(simulated(lab_hz=0.4))
    assert (bounded.verdict, bounded.flaws) == ("pass", ())
    assert any(not outage.holds(outage.alone) for outage in bounded.outages), "its calls are seen"
    beyond = certify(simulated(lab_hz=5.0))
    assert beyond.verdict == "fail"
    assert sum(outage.agrees for outage in beyond.outages) < 10


def test_two_recoveries_in_fifty_that_are_stated_wrongly_fail(perfect: Record) -> None:
    def late(numbers: list[int]) -> Callable[[Request], Request]:
        spans = [(perfect.truths[n][2], perfect.truths[n][2] + 3500) for n in numbers]
        return lambda row: (
            replace(row, done_ms=row.scheduled_ms + 900)
            if any(a <= row.scheduled_ms < b for a, b in spans)
            else row
        )

    certificate = certify(simulated(spoil=late([4])))
    assert "51 of 52 recoveries agree with the load alone" in certificate.flaws
    assert not certificate.outages[4].agrees


def test_a_load_at_a_quarter_of_the_rate_makes_the_interval_too_wide() -> None:
    course = replace(FULL, rate_per_s=1.0, gap_s=(25.0, 26.0))
    assert certify(simulated(course)).flaws == ("P95 of the width is above 500 ms",)


def test_outages_in_which_the_machine_held_the_server_up_do_not_count(perfect: Record) -> None:
    def held_up(numbers: int) -> Record:
        ends = [end_ms for _, _, end_ms in perfect.truths[:numbers]]
        calls = tuple(
            call._replace(answered_ms=call.done_ms + 80)
            if any(end <= call.arrived_ms < end + 1000 for end in ends)
            else call
            for call in perfect.calls
        )
        return replace(perfect, calls=calls)

    few, many = certify(held_up(2)), certify(held_up(4))
    assert (few.verdict, len(few.counted)) == ("pass", 50)
    assert (many.verdict, len(many.counted)) == ("inconclusive", 48)
    assert "a certificate takes 50 outages" in many.lines()[-1]


def test_no_rows_or_missing_outages_are_no_certificate(perfect: Record) -> None:
    blind = certify(replace(perfect, samples=Samples()))
    assert blind.verdict == "fail"
    assert all(outage.lo_ms is None and outage.width_ms == math.inf for outage in blind.outages)
    assert blind.facts()["outages"][0]["width_ms"] is None
    assert certify(replace(perfect, planned=53)).verdict == "fail"
    nothing = certify(replace(perfect, truths=(), planned=0))
    assert nothing.verdict == "fail" and "inf" not in "".join(nothing.lines()[:-1])


def test_the_observer_is_that_of_a_run_at_this_server() -> None:
    observer = bounded_observer(FULL.target)
    assert (observer.outstanding_max, observer.recall_outstanding_max) == (1, 1)
    assert (observer.canary_fast_hz + observer.recall_hz) * COST_MS / 1000 <= 0.02
    assert replace(FULL, unbounded=UNBOUNDED).observer == UNBOUNDED


def test_the_schedule_is_that_of_the_seed_and_has_both_kinds(tmp_path: Path) -> None:
    planned = FULL.schedule(5000.0)
    assert planned == FULL.schedule(5000.0) != replace(FULL, seed=2).schedule(5000.0)
    assert [kind for kind, _, _ in planned[:3]] == ["hang", "partition", "hang"]
    assert all(1000 <= end - start <= 6000 for _, start, end in planned)
    assert sum(end - start for _, start, end in planned) / 1000 + 52 * 8 < 640, "some ten minutes"
