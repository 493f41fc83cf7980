"""Calibrates the lab at a reference server that answers all calls at once and whose outages are known.

The observer probes at its fast rate, with the deadline and the SLO of a run. The probes go through `samples.sqlite`,
and the judge's clocks turn them into intervals. Only the hold time is shorter (1 s), because outages follow each other
within seconds.
"""

import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from lab.errors import WorldError
from lab.evidence.sample_reader import read_samples
from lab.evidence.sample_store import SampleStore
from lab.guard.guardian_journal import origin_ns
from lab.judge.stats.observations import Observations, ProbeResults, within_slo
from lab.judge.stats.recovery_clock import clocks, first_harm, recovery_point
from lab.model.plan import ObserverPlan
from lab.model.recovery import Rule
from lab.model.samples import Probe
from lab.model.target import Target
from lab.observe.calibration_server import KINDS, Outage, running
from lab.observe.clock import RunClock
from lab.observe.observer import TargetObserver
from lab.probes.recall import TruthQuery
from lab.read.targets import load_target
from lab.repository import TARGETS

RULE = Rule(window=20, enough=19, hold_ms=1000.0, gap_ms=1500.0)
# What a certificate requires, and how much must be measured for one.
INSIDE, WIDTH_MS, MISSABLE_MS, OUTAGES_MIN, QUIET_MIN_S = 0.99, 150.0, 200.0, 100, 600.0
SHORTEST_S, LEAD_S = 0.1, 1.5
# The reference server is known to be well for this long before an outage; the interval of its beginning starts there.
CALM_MS = 1000.0
TARGET = TARGETS / "workspace-qdrant-mcp"
PLAN = ObserverPlan(
    canary_slow_hz=2.0,
    canary_fast_hz=10.0,
    canary_deadline_ms=460,
    canary_slo_ms=200.0,
    outstanding_max=6,
    recall_hz=0.1,
    recall_k=10,
    memory_every_s=3600.0,
)


@dataclass(frozen=True, slots=True)
class Course:
    """The course of a calibration: first a quiet time, then outages of each kind in turn.

    Durations are log-uniform from 0.1 s to `longest_s`. The gap between two outages is between the two `gap_s`.
    """

    outages: int
    quiet_s: float
    seed: int
    longest_s: float = 12.0
    gap_s: tuple[float, float] = (3.0, 4.0)

    def schedule(self, from_ms: float) -> list[Outage]:
        """The outages, the first at `from_ms`; the same seed gives the same outages."""
        dice, at_ms, planned = random.Random(self.seed), from_ms, []
        for number in range(self.outages):
            end_ms = at_ms + 1000 * SHORTEST_S * (self.longest_s / SHORTEST_S) ** dice.random()
            planned.append((KINDS[number % len(KINDS)], at_ms, end_ms))
            at_ms = end_ms + 1000 * dice.uniform(*self.gap_s)
        return planned


@dataclass(frozen=True, slots=True)
class Record:
    """The true outages (kind, start, end) and the probes, in ms on one clock."""

    course: Course
    truths: tuple[Outage, ...]
    probes: tuple[Probe, ...]
    quiet_from_ms: float
    quiet_to_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One outage: its true duration, and the interval that the lab states for it in ms; None if it saw no end.

    `answer_ms` is the latency of the answer that ends the interval. `onset_inside` is None if the outage was not
    detected.
    """

    kind: str
    true_ms: float
    seen: bool
    lo_ms: float | None = None
    hi_ms: float | None = None
    answer_ms: float | None = None
    onset_inside: bool | None = None

    @property
    def inside(self) -> bool:
        """True if there is an interval, and the true duration lies inside it."""
        return self.lo_ms is not None and self.hi_ms is not None and self.lo_ms <= self.true_ms <= self.hi_ms

    @property
    def width_ms(self) -> float:
        """The width of the interval without the latency of the answer; infinite if no end was seen."""
        if self.lo_ms is None or self.hi_ms is None or self.answer_ms is None:
            return math.inf
        return self.hi_ms - self.lo_ms - self.answer_ms

    @property
    def missed(self) -> bool:
        """True if the outage was long enough to be detected, and was not."""
        return not self.seen and self.true_ms >= MISSABLE_MS


@dataclass(frozen=True, slots=True)
class Certificate:
    """All outages as measured, and the number of bad probes in quiet time; `quiet_void` slots are no evidence."""

    outages: tuple[Measured, ...]
    planned: int
    invented: int
    quiet_s: float
    quiet_probes: int
    quiet_void: int = 0

    @property
    def flaws(self) -> tuple[str, ...]:
        """Why the requirements are not met; what was not measured meets none of them."""
        n, widths = len(self.outages), [outage.width_ms for outage in self.outages]
        onsets = [outage.onset_inside for outage in self.outages if outage.onset_inside is not None]
        missed, inside = sum(o.missed for o in self.outages), sum(o.inside for o in self.outages)
        requirements = (
            (not 0 < n == self.planned, f"{n} of {self.planned} outages were carried out"),
            (missed > 0, f"{missed} outages of at least {MISSABLE_MS:g} ms were missed"),
            (inside < INSIDE * n, f"{inside} of {n} true durations lie inside"),
            (
                sum(onsets) < INSIDE * len(onsets),
                f"{sum(onsets)} of {len(onsets)} true beginnings lie inside",
            ),
            (
                bool(widths) and _percentile(widths, 95) > WIDTH_MS,
                f"P95 of the width is above {WIDTH_MS:g} ms",
            ),
            (self.invented > 0, f"{self.invented} probes were bad while nothing happened"),
            (
                self.quiet_probes < 9 * self.quiet_s,
                f"only {self.quiet_probes} probes in {self.quiet_s:g} s of quiet",
            ),
        )
        return tuple(why for wrong, why in requirements if wrong)

    @property
    def enough(self) -> bool:
        """True if enough was measured for a certificate."""
        return len(self.outages) >= OUTAGES_MIN and self.quiet_s >= QUIET_MIN_S

    @property
    def verdict(self) -> str:
        """`pass`, `fail`, or `inconclusive` if the requirements are met by too few measurements."""
        return "fail" if self.flaws else "pass" if self.enough else "inconclusive"

    def lines(self) -> list[str]:
        """The table by kind, the quiet time, and the verdict with its reasons."""
        rows = [(kind, [outage for outage in self.outages if outage.kind == kind]) for kind in KINDS]
        head = (
            f"{'kind':7} {'n':>4} {'inside':>6} {'begin':>6} {'missed':>6}  width - latency P50 / P95 / max"
        )
        quiet = f"quiet {self.quiet_s:g} s: {self.quiet_probes} probes, {self.invented} bad, {self.quiet_void} void"
        why = "; ".join(self.flaws)
        if not why and not self.enough:
            why = f"all is right so far, but a certificate takes {OUTAGES_MIN} outages and {QUIET_MIN_S:g} s of quiet"
        table = [_row(kind, mine) for kind, mine in (*rows, ("all", self.outages))]
        return [head, *table, quiet, f"{self.verdict.upper()}{': ' if why else ''}{why}"]


def _percentile(values: Sequence[float], percent: float) -> float:
    """A percentile that is one of the values, so it never lies between a number and infinity."""
    return float(np.percentile(values, percent, method="higher"))


def _row(kind: str, rows: Sequence[Measured]) -> str:
    widths = [outage.width_ms for outage in rows]
    shown = " / ".join(f"{_percentile(widths, percent):.1f}" for percent in (50, 95, 100)) if widths else "-"
    inside, onset = sum(outage.inside for outage in rows), sum(outage.onset_inside is True for outage in rows)
    return (
        f"{kind:7} {len(rows):4} {inside:6} {onset:6} {sum(outage.missed for outage in rows):6}  {shown} ms"
    )


def recovery(directory: Path, course: Course, say: Callable[[str], None]) -> Certificate:
    """Calibrate, and write `samples.sqlite` (probes) and `calibration.json` (truths, intervals, verdict)."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate = certify(watch(directory / "samples.sqlite", course, say))
    outages = [_row_of(outage) for outage in certificate.outages]
    facts = {"course": asdict(course), "hold_ms": RULE.hold_ms, "observer": asdict(PLAN)}
    verdict = {"verdict": certificate.verdict, "flaws": certificate.flaws}
    text = json.dumps({**verdict, **asdict(certificate), "outages": outages, **facts}, indent=2)
    (directory / "calibration.json").write_text(text + "\n", encoding="utf-8")
    return certificate


def _row_of(outage: Measured) -> dict[str, object]:
    """One outage as JSON, which has no infinity: the width is null if no end was seen."""
    width_ms = outage.width_ms if math.isfinite(outage.width_ms) else None
    return {**asdict(outage), "inside": outage.inside, "width_ms": width_ms}


def watch(samples: Path, course: Course, say: Callable[[str], None]) -> Record:
    """Run the reference server through its course while the observer probes it; raises WorldError."""
    for old in samples.parent.glob(f"{samples.name}*"):
        old.unlink()
    clock, store = RunClock(), SampleStore(samples)
    origin_ms = origin_ns(clock) / 1e6
    truths: list[Outage] = []
    with running() as reference:
        observer = _observer(reference.url, clock, store)
        observer.watch_closely(True)
        observer.start()
        clock.sleep_s(LEAD_S)
        quiet_from_ms = clock.now_ms()
        clock.sleep_s(course.quiet_s)
        quiet_to_ms = clock.now_ms()
        for kind, start, end in reference.outages(course.schedule(time.monotonic_ns() / 1e6 + CALM_MS)):
            truths.append((kind, start - origin_ms, end - origin_ms))
            say(f"outage {len(truths)} of {course.outages}: {kind}, {(end - start) / 1000:.2f} s")
        clock.sleep_s(course.gap_s[0])
        end_ms = clock.now_ms()
        observer.stop()
    store.close()
    if observer.died():
        raise WorldError(
            "the observer died", where=reference.url, last_state=str(observer.died()), try_="run again"
        )
    probes = tuple(probe for probe in read_samples(samples)[0].probes)
    return Record(course, tuple(truths), probes, quiet_from_ms, quiet_to_ms, end_ms)


def reference_target() -> Target:
    """The reference server as a target: it answers every tool as a truth query, so the canary asks one."""
    target = load_target(TARGET)
    return replace(target, canary=target.recall)


def _observer(url: str, clock: RunClock, store: SampleStore) -> TargetObserver:
    query = TruthQuery("q", "a query", frozenset(f"d{number}" for number in range(PLAN.recall_k)))
    return TargetObserver(
        url=url,
        target=reference_target(),
        plan=PLAN,
        queries=[query],
        clock=clock,
        sink=store,
        on_memory=lambda: None,
    )


def certify(record: Record, *, shift_ms: float = 0.0) -> Certificate:
    """Compare what was measured with what was true; `shift_ms` falsifies the truth, which must then fail."""
    probes = within_slo(ProbeResults.of(record.probes), PLAN.canary_slo_ms)
    sent_ms = probes.sent_ms
    quiet = probes.where((sent_ms >= record.quiet_from_ms) & (sent_ms < record.quiet_to_ms))
    ends = [*(start for _, start, _ in record.truths), record.end_ms][1:]
    rows = tuple(
        _measure(truth, probes.where(sent_ms < until), shift_ms)
        for truth, until in zip(record.truths, ends, strict=True)
    )
    asked, course = quiet.where(quiet.asked), record.course
    bad, void = int((~asked.good).sum()), len(quiet) - len(asked)
    return Certificate(rows, course.outages, bad, course.quiet_s, len(asked), void)


def _measure(truth: Outage, probes: Observations, shift_ms: float) -> Measured:
    """Measure one outage with the judge's clocks, with the true start of the outage in place of the heal."""
    kind, start_ms, end_ms = truth
    after = probes.since(start_ms)
    at = recovery_point(after, RULE)
    began = first_harm(probes, start_ms - CALM_MS, float("inf") if at is None else after[at].sent_ms)
    onset = None
    if began is not None and began.hi_s is not None:
        onset = 1000 * began.lo_s <= CALM_MS + shift_ms <= 1000 * began.hi_s
    measured = Measured(kind, end_ms + shift_ms - start_ms, onset is not None, onset_inside=onset)
    found = clocks(after, start_ms, start_ms, RULE)
    if found is None or at is None:
        return measured
    lo_s, hi_s = found[0].lo_s, found[0].hi_s
    answer_ms = after[at].done_ms - after[at].sent_ms
    return replace(
        measured, lo_ms=1000 * lo_s, hi_ms=None if hi_s is None else 1000 * hi_s, answer_ms=answer_ms
    )
