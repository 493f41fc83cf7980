"""The instrument on outages whose truth is known: a handful of real ones, and what may never count as a certificate."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from lab.cli import app
from lab.model.samples import Probe
from lab.observe.calibration_server import KINDS, SLOW_S
from lab.run.calibration import at_once, in_turn
from lab.run.calibration.at_once import Certificate, Course, Measured, Record, certify, watch

# One outage of each kind, of a quarter to half a second each.
SHORT = Course(outages=4, quiet_s=1.0, seed=29, longest_s=0.8, gap_s=(2.3, 2.5))
FULL = Course(outages=100, quiet_s=600.0, seed=1)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """About fourteen seconds of the real observer against the real reference server."""
    return watch(tmp_path_factory.mktemp("calibration") / "samples.sqlite", SHORT, lambda text: None)


def test_a_real_outage_of_each_kind_lies_in_its_interval(record: Record) -> None:
    certificate = certify(record)
    assert [one.kind for one in certificate.outages] == list(KINDS)
    for one in certificate.outages:
        assert one.seen and not one.missed and one.inside and one.onset_inside, one
    assert certificate.quiet_probes >= 9
    assert certificate.verdict != "pass"


def test_the_same_record_with_a_falsified_truth_fails(record: Record) -> None:
    for shift_ms in (700.0, -700.0):
        certificate = certify(record, shift_ms=shift_ms)
        assert certificate.verdict == "fail"
        assert not any(one.inside or one.onset_inside for one in certificate.outages)


def test_a_blind_observer_fails(record: Record) -> None:
    certificate = certify(replace(record, probes=()))
    assert certificate.verdict == "fail"
    assert not any(one.seen or one.inside for one in certificate.outages)


def test_a_stuck_probe_delays_no_other_and_at_most_five_are_outstanding(record: Record) -> None:
    stuck = [p for p in record.probes if p.outcome == "transport" and p.detail.startswith("no answer within")]
    first = min(stuck, key=lambda probe: probe.sent_ms)
    assert first.done_ms is not None
    meanwhile = [p for p in record.probes if first.sent_ms < p.sent_ms < first.done_ms]
    assert len(meanwhile) >= 2
    for one in record.probes:
        out = [p for p in record.probes if p.done_ms is not None and p.sent_ms <= one.sent_ms < p.done_ms]
        assert len(out) <= at_once.PLAN.outstanding_max


def test_each_kind_of_outage_is_what_it_says(record: Record) -> None:
    told: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for kind, start_ms, end_ms in record.truths:
        mine = [p for p in record.probes if start_ms <= p.sent_ms < end_ms - 50]
        told[kind] = {
            "late" if p.outcome == "ok" and _took_ms(p) >= 1000 * SLOW_S else p.outcome for p in mine
        }
    assert told["refuse"] == told["hang"] == {"transport"}
    assert told["wrong"] == {"wrong"}
    assert told["slow"] <= {"late", "transport"}


def _took_ms(probe: Probe) -> float:
    assert probe.done_ms is not None
    return probe.done_ms - probe.sent_ms


def watched(course: Course = FULL, *, every_ms: float = 100.0, took_ms: float = 5.0) -> Record:
    """What a perfect observer would have recorded: a request arrives 1 ms after it was sent."""
    quiet_to_ms = 1500.0 + 1000 * course.quiet_s
    truths = tuple(course.schedule(quiet_to_ms + 1000))
    end_ms = truths[-1][2] + 3000
    probes = []
    for n in range(int(end_ms / every_ms)):
        at_ms = n * every_ms
        kind = next((kind for kind, start, end in truths if start <= at_ms + 1 < end), "")
        outcome = {"": "ok", "slow": "ok", "wrong": "wrong"}.get(kind, "transport")
        lasts_ms = {"slow": 400.0, "hang": 460.0}.get(kind, took_ms)
        probes.append(Probe(at_ms, at_ms + lasts_ms, "search_dense", outcome, ""))
    return Record(course, truths, tuple(probes), 1500.0, quiet_to_ms, end_ms)


@pytest.fixture(scope="module")
def perfect() -> Record:
    return watched()


def test_a_perfect_observer_gets_its_certificate(perfect: Record) -> None:
    certificate = certify(perfect)
    assert (certificate.verdict, certificate.flaws) == ("pass", ())
    assert {one.kind for one in certificate.outages} == set(KINDS)
    assert certificate.lines()[-1] == "PASS"


def spoilt(record: Record, spoil: Callable[[Probe], Probe | None]) -> Record:
    kept = (spoil(probe) for probe in record.probes)
    return replace(record, probes=tuple(probe for probe in kept if probe is not None))


def within(
    record: Record, numbers: Iterable[int], *, before_ms: float = 0.0, after_ms: float = 0.0
) -> Callable[[Probe], bool]:
    spans = [record.truths[number][1:] for number in numbers]
    return lambda probe: any(a - before_ms <= probe.sent_ms < b + after_ms for a, b in spans)


def long_ones(record: Record) -> list[int]:
    return [n for n, (_, start, end) in enumerate(record.truths) if end - start > 1000]


def test_one_bad_probe_in_quiet_time_is_an_invention(perfect: Record) -> None:
    bad = spoilt(perfect, lambda p: replace(p, outcome="transport") if p.sent_ms == 300_000 else p)
    late = spoilt(perfect, lambda p: replace(p, done_ms=p.sent_ms + 201) if p.sent_ms == 300_000 else p)
    for record in (bad, late):
        assert certify(record).flaws == ("1 probes were bad while nothing happened",)


@pytest.mark.parametrize("outcome", ["unsent", "stalled"])
def test_what_is_no_evidence_is_counted_apart_and_too_much_of_it_leaves_too_few_probes(
    perfect: Record, outcome: str
) -> None:
    def void(until_ms: float) -> Record:
        span = (300_000, until_ms)
        return spoilt(perfect, lambda p: replace(p, outcome=outcome) if span[0] <= p.sent_ms < span[1] else p)

    one = certify(void(300_100))
    assert (one.verdict, one.invented, one.quiet_void) == ("pass", 0, 1)
    assert certify(void(365_000)).flaws == ("only 5350 probes in 600 s of quiet",)


def test_one_missed_outage_fails(perfect: Record) -> None:
    number = long_ones(perfect)[0]
    missed = within(perfect, [number], before_ms=200)
    blind = spoilt(perfect, lambda p: replace(p, outcome="ok", done_ms=p.sent_ms + 5) if missed(p) else p)
    certificate = certify(blind)
    assert certificate.outages[number].missed
    assert "1 outages of at least 200 ms were missed" in certificate.flaws


def test_one_outage_in_a_hundred_may_be_mistaken_and_two_may_not(perfect: Record) -> None:
    def mistaken(numbers: list[int]) -> Record:
        """The answers stay bad for 0.4 s longer than was true."""
        longer = within(perfect, numbers, after_ms=400)
        return spoilt(perfect, lambda p: replace(p, outcome="transport") if longer(p) else p)

    first, second, *_ = long_ones(perfect)
    assert certify(mistaken([first])).verdict == "pass"
    assert certify(mistaken([first, second])).flaws == ("98 of 100 true durations lie inside",)


def test_an_outage_that_was_not_seen_to_end_is_mistaken_and_endlessly_wide(perfect: Record) -> None:
    def endless(numbers: list[int]) -> Record:
        never = within(perfect, numbers, after_ms=2500)
        return spoilt(perfect, lambda p: replace(p, outcome="transport") if never(p) else p)

    certificate = certify(endless([7]))
    assert certificate.outages[7].hi_ms is None
    assert certificate.outages[7].width_ms == math.inf
    assert not certificate.outages[7].inside
    assert certificate.verdict == "pass"
    assert "/ inf ms" in certificate.lines()[-3]
    assert certify(endless([7, 9])).flaws == ("98 of 100 true durations lie inside",)
    assert "P95 of the width is above 150 ms" in certify(endless(list(range(0, 100, 10)))).flaws


def test_probes_at_half_the_rate_make_the_interval_too_wide() -> None:
    flaws = certify(watched(every_ms=200.0)).flaws
    assert "P95 of the width is above 150 ms" in flaws
    assert any(flaw.startswith("only ") for flaw in flaws)


def test_the_answers_own_latency_is_not_held_against_the_width(perfect: Record) -> None:
    slow = spoilt(
        perfect, lambda p: replace(p, done_ms=p.sent_ms + 150) if p.outcome == "ok" and _took_ms(p) < 9 else p
    )
    assert certify(slow).flaws == ()


def test_no_probes_or_no_outages_are_no_certificate(perfect: Record) -> None:
    assert certify(replace(perfect, probes=())).verdict == "fail"
    assert certify(replace(perfect, truths=perfect.truths[:99])).flaws == (
        "99 of 100 outages were carried out",
    )
    nothing = Certificate((), planned=0, invented=0, quiet_s=600, quiet_probes=6000)
    assert nothing.verdict == "fail"
    assert Measured("hang", 500.0, seen=True).inside is False


@pytest.mark.parametrize("course", [Course(99, 600.0, 1), Course(100, 599.0, 1)])
def test_too_little_of_it_is_inconclusive_however_good(course: Course) -> None:
    certificate = certify(watched(course))
    assert (certificate.verdict, certificate.flaws) == ("inconclusive", ())
    assert "a certificate takes 100 outages" in certificate.lines()[-1]


def test_the_schedule_is_that_of_the_seed_and_within_its_bounds() -> None:
    planned = FULL.schedule(5000.0)
    assert planned == FULL.schedule(5000.0) != Course(100, 600.0, 2).schedule(5000.0)
    assert planned[0][1] == 5000.0
    assert all(100 <= end - start <= 12_000 for _, start, end in planned)
    assert [kind for kind, _, _ in planned[:4]] == list(KINDS)


@pytest.mark.parametrize(
    ("verdict", "in_turns", "code"),
    [
        ("pass", "pass", 0),
        ("fail", "pass", 10),
        ("inconclusive", "pass", 11),
        ("pass", "fail", 10),
        ("pass", "inconclusive", 11),
        ("inconclusive", "fail", 10),
    ],
)
def test_the_command_ends_with_what_was_certified(
    verdict: str,
    in_turns: str,
    code: int,
    perfect: Record,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = SimpleNamespace(verdict=in_turns, lines=lambda: ["the second table"])
    monkeypatch.setattr(in_turn, "recovery", lambda directory, course, say: second)
    record = {
        "pass": perfect,
        "fail": replace(perfect, probes=()),
        "inconclusive": replace(perfect, course=replace(FULL, quiet_s=500.0)),
    }[verdict]
    monkeypatch.setattr(at_once, "watch", lambda samples, course, say: record)
    result = CliRunner().invoke(app, ["calibrate", "recovery", "--directory", str(tmp_path / "new")])
    assert result.exit_code == code, result.output
    assert verdict.upper() in result.output and "the second table" in result.output
    assert f'"verdict": "{verdict}"' in (tmp_path / "new" / "calibration.json").read_text(encoding="utf-8")
