"""Compares the recoveries that the judge states with the true ones of a server that answers one call at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from lab.judge.stats.recovery_clock import clocks, recovery_point
from lab.judge.windows.window import Window
from lab.judge.witnesses.limits import Baseline
from lab.judge.witnesses.streams import Streams
from lab.model.evidence import Evidence
from lab.model.journal import Journal
from lab.model.load import LoadProfile
from lab.model.plan import FAULT, STEADY, ObserverPlan, Plan, Step
from lab.model.samples import Samples
from lab.model.target import Target
from lab.observe.calibration_server import Outage
from lab.run.calibration.agreement import Drained, InTurn
from lab.run.calibration.backlog import Recovering, lab_may_add, recovering, worked_off

STEP = "calibration"
HOLD_MS = 1000.0
# Arrivals from this long before an outage on decide what the server has to work off.
CALM_MS = 1000.0


class Answered(NamedTuple):
    """One call as the server saw it: when it arrived, was worked off, and was answered (ms)."""

    of_load: bool
    arrived_ms: float
    done_ms: float
    answered_ms: float


@dataclass(frozen=True, slots=True)
class Record:
    """What happened: the true outages, the rows of load and lab, and what the server did, in ms on one clock.

    `bounded` is the observer of a run at this server, `observer` the one that asked.
    """

    target: Target
    observer: ObserverPlan
    bounded: ObserverPlan
    load: LoadProfile
    planned: int
    truths: tuple[Outage, ...]
    samples: Samples
    calls: tuple[Answered, ...]
    quiet_from_ms: float
    end_ms: float


def certify(record: Record, *, shift_ms: float = 0.0) -> InTurn:
    """Compare what was measured with what was true; `shift_ms` falsifies the truth, which must then fail."""
    quiet_to_ms = min((start_ms for _, start_ms, _ in record.truths), default=record.end_ms)
    steady = Window(STEP, STEADY, record.quiet_from_ms, quiet_to_ms)
    evidence = _evidence(record)
    streams = Streams(evidence, Baseline.of(evidence, (steady,)))
    untils_ms = [*(start_ms for _, start_ms, _ in record.truths), record.end_ms][1:]
    rows = [
        _measure(record, streams, truth, until_ms, shift_ms)
        for truth, until_ms in zip(record.truths, untils_ms, strict=True)
    ]
    return InTurn(tuple(rows), record.planned)


def _evidence(record: Record) -> Evidence:
    """The evidence of a run with this load, whose only step is the calibration."""
    plan = Plan(
        campaign=STEP,
        why="",
        seed=0,
        duration_s=record.end_ms / 1000,
        steps=(Step(STEP, STEADY, record.end_ms / 1000, load=record.load),),
        observer=record.observer,
        bounds={},
        required=(),
        decisions=(),
        target=record.target,
        documents=0,
        queries=0,
        corpus="",
    )
    return Evidence(plan, Journal(()), record.samples)


def _measure(record: Record, streams: Streams, outage: Outage, until_ms: float, shift_ms: float) -> Drained:
    """Measure one outage with the judge's clocks, with its true times in place of injection and heal."""
    kind, start_ms, end_ms = outage
    stream = streams.within(Window(STEP, FAULT, start_ms, until_ms))
    assert stream.limits is not None
    limit_ms = stream.limits.ms_of(record.target.recall)
    calls = [call for call in record.calls if start_ms - CALM_MS <= call.arrived_ms < until_ms]
    arrivals_ms = [call.arrived_ms for call in calls if call.of_load]
    alone = recovering(worked_off(arrivals_ms, outage), end_ms, until_ms, limit_ms)
    together = recovering([(c.arrived_ms, c.done_ms) for c in calls], end_ms, until_ms, limit_ms)
    lab_calls_max, may_add_ms = lab_may_add(arrivals_ms, outage, until_ms, limit_ms, record.bounded)
    drained = Drained(
        kind=kind,
        hold_ms=end_ms - start_ms,
        alone=_shifted(alone, shift_ms),
        together=_shifted(together, shift_ms),
        lab_calls=_lab_calls(calls, start_ms, until_ms if together is None else end_ms + together.first_ms),
        lab_calls_max=lab_calls_max,
        may_add_ms=may_add_ms,
        late_ms=max((call.answered_ms - call.done_ms for call in calls), default=0.0),
    )
    rule = replace(stream.rule, hold_ms=HOLD_MS)
    after = stream.in_slo.since(end_ms)
    at, found = recovery_point(after, rule), clocks(after, end_ms, end_ms, rule)
    if at is None or found is None or found[0].hi_s is None:
        return drained
    answer_ms = after[at].done_ms - after[at].sent_ms
    return replace(drained, lo_ms=1000 * found[0].lo_s, hi_ms=1000 * found[0].hi_s, answer_ms=answer_ms)


def _shifted(truth: Recovering | None, by_ms: float) -> Recovering | None:
    return None if truth is None else Recovering(truth.first_ms + by_ms, truth.last_ms + by_ms)


def _lab_calls(calls: Sequence[Answered], from_ms: float, to_ms: float) -> int:
    return sum(not call.of_load and from_ms <= call.arrived_ms < to_ms for call in calls)
