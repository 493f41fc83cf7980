"""Stretches of the run in which something was not seen."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

from lab.judge.windows.planned_load import load_in
from lab.judge.windows.timeline import Windows
from lab.model.evidence import Evidence
from lab.model.verdict import Finding

KEY = "gaps"

# How many periods of a steady stream may pass without a sample, and what a busy machine may add, before it is
# a gap.
PERIODS = 3.0
SLACK_MS = 1000.0


def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
    """Streams with holes, samplers that died, and what an interrupted run has left out; in order of time."""
    gaps = [*_holes(evidence, windows), *_deaths(evidence, windows), *_left_out(evidence, windows)]
    return [{"from_ms": a, "to_ms": b, "why": why} for a, b, why in sorted(gaps)]


def _holes(evidence: Evidence, windows: Windows) -> Iterator[tuple[float, float, str]]:
    if not windows.phases:
        return
    plan, samples = evidence.plan, evidence.samples
    canary = (p.sent_ms for p in samples.probes if p.probe == plan.target.canary)
    start, end = windows.phases[0].from_ms, windows.phases[-1].to_ms
    streams = (
        ("no canary probe was sent", plan.observer.canary_slow_hz, canary),
        ("no truth query was sent", plan.observer.recall_hz, (r.sent_ms for r in samples.recall)),
        ("no memory was read", 1 / plan.observer.memory_every_s, (m.at_ms for m in samples.memory)),
    )
    for why, rate_hz, times in streams:
        for a, b in _silences(times, start, end, _longest_ms(1000 / rate_hz)):
            yield a, b, why
    yield from _holes_in_load(evidence, windows)


def _holes_in_load(evidence: Evidence, windows: Windows) -> Iterator[tuple[float, float, str]]:
    """Where the load of a step had nothing due for too long; steps that follow each other with one load are one."""
    due = [request.scheduled_ms for request in evidence.samples.requests]
    for load, phases in groupby(windows.phases, lambda phase: load_in(evidence.plan, phase)):
        if load is None:
            continue
        span = list(phases)
        for a, b in _silences(
            due, span[0].from_ms, span[-1].to_ms, _longest_ms(load.schedule.pause_max_ms())
        ):
            yield a, b, "no load request was due"


def _longest_ms(period_ms: float) -> float:
    """The longest pause in a stream with this period that is no gap."""
    return PERIODS * period_ms + SLACK_MS


def _silences(
    times: Iterable[float], start: float, end: float, at_most_ms: float
) -> Iterator[tuple[float, float]]:
    known = [start, *sorted(t for t in times if start < t < end), end]
    for a, b in pairwise(known):
        if b - a > at_most_ms:
            yield a, b


def _deaths(evidence: Evidence, windows: Windows) -> Iterator[tuple[float, float, str]]:
    for event in evidence.journal.of("sampler_died"):
        end_ms = max(windows.to_ms, event.at_ms)
        yield event.at_ms, end_ms, f"the sampler {event.data.get('sampler')} died: {event.data.get('why')}"


def _left_out(evidence: Evidence, windows: Windows) -> Iterator[tuple[float, float, str]]:
    """From where the run stopped to where the plan would have brought it at the least."""
    ran = {phase.name for phase in windows.phases if phase.complete}
    left = [step for step in evidence.plan.steps if step.name not in ran]
    if not left:
        return
    stopped = evidence.journal.of("interrupted", "lab_failed")
    why = stopped[0].data.get("why", stopped[0].kind) if stopped else "the journal ends"
    names = ", ".join(step.name for step in left)
    planned_end_ms = windows.from_ms + 1000 * evidence.plan.duration_s
    yield windows.to_ms, max(windows.to_ms, planned_end_ms), f"{why}; not carried out in full: {names}"
