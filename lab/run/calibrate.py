"""What the lab measures of outages whose times are known: its own path, against a reference server.

The observer probes at its fast rate with a run's deadline and SLO, the probes go through `samples.sqlite`, and the
judge's clocks turn them into intervals. Only the hold is shorter (1 s), for outages follow each other in seconds.
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
from lab.judge.stats.recovery_clock import Seen, clocks, noticed, recovery_point, within_slo
from lab.model.plan import ObserverPlan
from lab.model.recovery import Rule
from lab.model.samples import Probe
from lab.observe.calibration_server import KINDS, Outage, running
from lab.observe.clock import RunClock
from lab.observe.observer import TargetObserver
from lab.probes.recall import TruthQuery
from lab.read.targets import load_target
from lab.repository import TARGETS

RULE = Rule(window=20, enough=19, hold_ms=1000.0, gap_ms=1500.0)
# The bar, and how much makes a certificate.
INSIDE, WIDTH_MS, MISSABLE_MS, OUTAGES_MIN, QUIET_MIN_S = 0.99, 150.0, 200.0, 100, 600.0
SHORTEST_S, LEAD_S = 0.1, 1.5
# How long before an outage counts as known to be well, for the interval of its beginning.
CALM_MS = 1000.0
TARGET = TARGETS / "workspace-qdrant-mcp"
PLAN = ObserverPlan(
    canary_slow_hz=2.0,
    canary_fast_hz=10.0,
    canary_deadline_ms=460,
    canary_slo_ms=200.0,
    outstanding_max=5,
    recall_hz=0.1,
    recall_k=10,
    memory_every_s=3600.0,
)


@dataclass(frozen=True, slots=True)
class Course:
    """What the reference server goes through: quiet first, then outages of each kind in turn.

    Their durations are log-uniform from 0.1 s to `longest_s`, with `gap_s` (from, to) between them.
    """

    outages: int
    quiet_s: float
    seed: int
    longest_s: float = 12.0
    gap_s: tuple[float, float] = (3.0, 4.0)

    def schedule(self, from_ms: float) -> list[Outage]:
        """The outages, the first at a time in ms; the same for the same seed."""
        dice, at_ms, planned = random.Random(self.seed), from_ms, []
        for number in range(self.outages):
            end_ms = at_ms + 1000 * SHORTEST_S * (self.longest_s / SHORTEST_S) ** dice.random()
            planned.append((KINDS[number % len(KINDS)], at_ms, end_ms))
            at_ms = end_ms + 1000 * dice.uniform(*self.gap_s)
        return planned


@dataclass(frozen=True, slots=True)
class Record:
    """What happened (`truths`: kind, start, end) and what was seen of it, on one clock in ms."""

    course: Course
    truths: tuple[Outage, ...]
    probes: tuple[Probe, ...]
    quiet_from_ms: float
    quiet_to_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One outage: its true duration, and the interval that the lab states for it (ms; None: no end was seen).

    `answer_ms` is the latency of the answer that ends the interval; `onset_inside` is None where nothing was noticed.
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
        """Whether the truth lies in the stated interval; there must be one."""
        return self.lo_ms is not None and self.hi_ms is not None and self.lo_ms <= self.true_ms <= self.hi_ms

    @property
    def width_ms(self) -> float:
        """The interval's width, less the answer's own latency; infinite where no end was seen."""
        if self.lo_ms is None or self.hi_ms is None or self.answer_ms is None:
            return math.inf
        return self.hi_ms - self.lo_ms - self.answer_ms

    @property
    def missed(self) -> bool:
        """Whether it was long enough to be seen, and was not."""
        return not self.seen and self.true_ms >= MISSABLE_MS


@dataclass(frozen=True, slots=True)
class Certificate:
    """All outages as measured, and how many probes were bad in quiet time; `quiet_void` slots are no evidence."""

    outages: tuple[Measured, ...]
    planned: int
    invented: int
    quiet_s: float
    quiet_probes: int
    quiet_void: int = 0

    @property
    def flaws(self) -> tuple[str, ...]:
        """Why the bar is not met; what was not measured meets none."""
        n, widths = len(self.outages), [one.width_ms for one in self.outages]
        onsets = [one.onset_inside for one in self.outages if one.onset_inside is not None]
        missed, inside = sum(o.missed for o in self.outages), sum(o.inside for o in self.outages)
        told = (
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
        return tuple(why for wrong, why in told if wrong)

    @property
    def enough(self) -> bool:
        """Whether there was enough of it for a certificate."""
        return len(self.outages) >= OUTAGES_MIN and self.quiet_s >= QUIET_MIN_S

    @property
    def verdict(self) -> str:
        """`pass`, `fail`, or `inconclusive` where the bar is met by too little."""
        return "fail" if self.flaws else "pass" if self.enough else "inconclusive"

    def lines(self) -> list[str]:
        """The table by kind, the quiet time, and the verdict with its reasons."""
        rows = [(kind, [one for one in self.outages if one.kind == kind]) for kind in KINDS]
        head = (
            f"{'kind':7} {'n':>4} {'inside':>6} {'begin':>6} {'missed':>6}  width - latency P50 / P95 / max"
        )
        quiet = f"quiet {self.quiet_s:g} s: {self.quiet_probes} probes, {self.invented} bad, {self.quiet_void} void"
        why = "; ".join(self.flaws)
        if not why and not self.enough:
            why = f"the bar is met, but a certificate takes {OUTAGES_MIN} outages and {QUIET_MIN_S:g} s of quiet"
        table = [_row(kind, mine) for kind, mine in (*rows, ("all", self.outages))]
        return [head, *table, quiet, f"{self.verdict.upper()}{': ' if why else ''}{why}"]


def _percentile(values: Sequence[float], percent: float) -> float:
    """One of the values, never one between a number and infinity."""
    return float(np.percentile(values, percent, method="higher"))


def _row(kind: str, rows: Sequence[Measured]) -> str:
    widths = [one.width_ms for one in rows]
    told = " / ".join(f"{_percentile(widths, percent):.1f}" for percent in (50, 95, 100)) if widths else "-"
    inside, onset = sum(one.inside for one in rows), sum(one.onset_inside is True for one in rows)
    return f"{kind:7} {len(rows):4} {inside:6} {onset:6} {sum(one.missed for one in rows):6}  {told} ms"


def recovery(directory: Path, course: Course, say: Callable[[str], None]) -> Certificate:
    """Measure; `samples.sqlite` (the probes) and `calibration.json` (truths, intervals, verdict) go to `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate = certify(watch(directory / "samples.sqlite", course, say))
    outages = [_row_of(one) for one in certificate.outages]
    facts = {"course": asdict(course), "hold_ms": RULE.hold_ms, "observer": asdict(PLAN)}
    said = {"verdict": certificate.verdict, "flaws": certificate.flaws}
    text = json.dumps({**said, **asdict(certificate), "outages": outages, **facts}, indent=2)
    (directory / "calibration.json").write_text(text + "\n", encoding="utf-8")
    return certificate


def _row_of(one: Measured) -> dict[str, object]:
    """One outage as JSON, which knows no infinity: null where no end was seen."""
    width_ms = one.width_ms if math.isfinite(one.width_ms) else None
    return {**asdict(one), "inside": one.inside, "width_ms": width_ms}


def watch(samples: Path, course: Course, say: Callable[[str], None]) -> Record:
    """Send the reference server through its course while the observer probes it; raises WorldError."""
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


def _observer(url: str, clock: RunClock, store: SampleStore) -> TargetObserver:
    query = TruthQuery("q", "a query", frozenset(f"d{number}" for number in range(PLAN.recall_k)))
    return TargetObserver(
        url=url,
        target=load_target(TARGET),
        plan=PLAN,
        queries=[query],
        clock=clock,
        sink=store,
        on_memory=lambda: None,
    )


def certify(record: Record, *, shift_ms: float = 0.0) -> Certificate:
    """What was measured against what was true; `shift_ms` falsifies the truth, which must then fail."""
    seen = within_slo(record.probes, PLAN.canary_slo_ms)
    quiet = [one for one in seen if record.quiet_from_ms <= one.sent_ms < record.quiet_to_ms]
    ends = [*(start for _, start, _ in record.truths), record.end_ms][1:]
    rows = tuple(
        _measure(truth, [one for one in seen if one.sent_ms < until], shift_ms)
        for truth, until in zip(record.truths, ends, strict=True)
    )
    asked, course = [one for one in quiet if one.asked], record.course
    bad, void = sum(not one.good for one in asked), len(quiet) - len(asked)
    return Certificate(rows, course.outages, bad, course.quiet_s, len(asked), void)


def _measure(truth: Outage, seen: Sequence[Seen], shift_ms: float) -> Measured:
    """By the judge's clocks, with the true start of the outage in the place of the heal."""
    kind, start_ms, end_ms = truth
    after = [one for one in seen if one.sent_ms >= start_ms]
    at = recovery_point(after, RULE)
    began = noticed(seen, start_ms - CALM_MS, float("inf") if at is None else after[at].sent_ms)
    onset = None
    if began is not None and began.hi_s is not None:
        onset = 1000 * began.lo_s <= CALM_MS + shift_ms <= 1000 * began.hi_s
    one = Measured(kind, end_ms + shift_ms - start_ms, onset is not None, onset_inside=onset)
    found = clocks(after, start_ms, start_ms, RULE)
    if found is None or at is None:
        return one
    lo_s, hi_s = found[0].lo_s, found[0].hi_s
    answer_ms = after[at].done_ms - after[at].sent_ms
    return replace(one, lo_ms=1000 * lo_s, hi_ms=None if hi_s is None else 1000 * hi_s, answer_ms=answer_ms)
