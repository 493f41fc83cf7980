"""What the lab or the machine did that damages evidence, and which evidence each of these incidents touches.

An incident decides nothing about what it does not touch, and nothing passes by what it touches. The judge derives all
of them: from the journal (a sampler that died, a chunk of load that broke, a step of the wall clock) and from the
samples themselves (a stretch of time in which a steady stream is silent). What concerns the run as a whole (an
interruption, a damaged journal) is not listed here but by the integrity check.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import numpy as np

from lab.judge.stats.intervals import Floats
from lab.judge.windows import references
from lab.judge.windows.planned_load import load_in
from lab.judge.windows.segments import Segment
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.journal import Event

# What findings rest on that need no samples: the journal's own events, such as the measurements of a fault's effect.
JOURNAL = "journal"
CLOCK_STEP_MS = 50.0
# A death or a step of the clock is noticed some time after it happened: the lab looks four times a second, but not
# while it waits for a call.
NOTICED_LATE_MS = 5000.0
# How many rows a writer can lose that is killed: those of the last second.
ROWS_AT_RISK_MS = 1000.0
# What the guardian does to a run that did not go as planned.
GUARDIAN_ACTS = ("fenced", "ended_process", "healed")
# The load generator takes the wall clock's time for a chunk when it makes the chunk's container.
LAUNCH_LEAD_MS = 6000.0
# How many periods of a steady stream may pass without a sample before it counts as silent, and what a busy machine may
# add to them.
PERIODS, SLACK_MS = 3.0, 1000.0
# What the samplers of older runs wrote; newer journals name the streams themselves.
_STREAMS_OF = {
    "observer": frozenset({"probes", "recall", "memory", "host"}),
    "probe": frozenset({"probes", "recall"}),
    "load": frozenset({"requests"}),
    "sample_store": frozenset({"requests", "probes", "recall", "memory", "host"}),
}
# The reader of the engine's events. Without it an act of somebody else would go unseen.
ENGINE_LOG = "engine_log"
_CHUNK = re.compile(r"\bchunk (\d+)\b")


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that damages evidence between two times; `to_ms` is None where it lasts to the end of the run.

    `streams` are the sample tables that it touches; None stands for all of them and for the journal's events besides.
    `event` is where the journal tells of it; None for a silence, which the samples tell by themselves.
    """

    from_ms: float
    to_ms: float | None
    streams: frozenset[str] | None
    why: str
    event: Event | None = None

    def concerns(self, stream: str) -> bool:
        """Whether it damages this stream at all."""
        return self.streams is None or stream in self.streams

    def overlaps(self, from_ms: float, to_ms: float) -> bool:
        """Whether it shares a moment with the time from `from_ms` up to, and not including, `to_ms`."""
        if self.from_ms >= to_ms:
            return False
        return self.to_ms is None or self.to_ms > from_ms or self.from_ms >= from_ms

    @property
    def hole(self) -> tuple[float, float]:
        """The time that it touches; a moment is a millisecond long."""
        if self.to_ms is None:
            return self.from_ms, float("inf")
        return self.from_ms, max(self.to_ms, self.from_ms + 1.0)

    @property
    def told(self) -> str:
        """What happened, with its place in the journal."""
        return self.why if self.event is None else f"{self.why} ({references.place_of(self.event)})"


def find_incidents(
    evidence: Evidence, phases: Sequence[Window], segments: Sequence[Segment]
) -> tuple[Incident, ...]:
    """Every incident of a run, in order of time."""
    found = [*_borders(evidence, segments)]
    for segment in segments:
        # What lasts to the end of a segment does not last into the next one.
        end_ms = None if segment.last else segment.to_ms
        mine = (*_deaths(evidence, segment), *_clock_steps(segment), *_broken_chunks(segment))
        found += [replace(one, to_ms=end_ms) if one.to_ms is None else one for one in mine]
        found += _silences(evidence, [phase for phase in phases if phase.segment == segment.number])
    return tuple(sorted(found, key=lambda incident: (incident.hole, incident.told)))


def _borders(evidence: Evidence, segments: Sequence[Segment]) -> Iterator[Incident]:
    """Between two segments nothing was measured; and what ended the first one, where it was ended."""
    guardian = () if evidence.guardian is None else evidence.guardian.events
    for before, after in pairwise(segments):
        from_ms = before.to_ms if before.ended else before.to_ms - ROWS_AT_RISK_MS
        how = "ended" if before.ended else "ended without a record of its end"
        why = f"segment {before.number} {how}, and nothing was measured until segment {after.number} began"
        yield Incident(from_ms, after.from_ms, None, why, after.events[0])
        for event in before.events:
            if event.kind == "interrupted":
                why = f"segment {before.number} was interrupted: {event.data.get('why', '')}"
                yield Incident(event.at_ms, after.from_ms, None, why, event)
        for event in guardian:
            if event.segment == before.number and event.kind in GUARDIAN_ACTS:
                yield Incident(event.at_ms, after.from_ms, None, f"the guardian acted: {event.kind}", event)


def _deaths(evidence: Evidence, segment: Segment) -> Iterator[Incident]:
    for event in _of(segment, "sampler_died"):
        sampler, reason = str(event.data.get("sampler", "")), str(event.data.get("why", ""))
        why = f"the sampler {sampler} died: {reason}"
        from_ms, to_ms = event.at_ms - NOTICED_LATE_MS, None
        if sampler == "probe":
            # One question was lost, asked at most its time limit before; the next ones are asked all the same.
            from_ms -= evidence.plan.target.request_timeout_ms
            to_ms = event.at_ms
        if sampler == ENGINE_LOG:
            why += "; from then on nobody saw what others did to the stack, and nothing after it is judged"
        if sampler == "load":
            from_ms, to_ms = _of_load(segment, reason)
        yield Incident(from_ms, to_ms, _streams(sampler, event), why, event)


def _streams(sampler: str, event: Event) -> frozenset[str] | None:
    """The streams that a dead sampler leaves short; None where nobody knows."""
    named = event.data.get("streams")
    if sampler == ENGINE_LOG or not isinstance(named, list):
        return _STREAMS_OF.get(sampler)
    return frozenset(map(str, named))


def _of(segment: Segment, kind: str) -> list[Event]:
    return [event for event in segment.events if event.kind == kind]


def _of_load(segment: Segment, reason: str) -> tuple[float, float | None]:
    """The time of the chunk that a death of the load generator names; the whole segment where it names none."""
    named = _CHUNK.search(reason)
    chunks = [e for e in _of(segment, "load_chunk_started") if named and e.data.get("chunk") == named[1]]
    return _chunk_span(chunks[0]) if chunks else (segment.from_ms, None)


def _chunk_span(started: Event) -> tuple[float, float]:
    from_ms = float(started.data["scheduled_start_ms"])
    return from_ms, from_ms + float(started.data["duration_ms"])


def _clock_steps(segment: Segment) -> Iterator[Incident]:
    """A step touches what it overlaps; and k6 goes by the wall clock, so also the rest of the chunks that it runs."""
    for event in _of(segment, "clock_stepped"):
        if abs(float(event.data.get("by_ms", "inf"))) <= CLOCK_STEP_MS:
            continue
        why = f"the wall clock stepped by {event.data.get('by_ms', '')} ms"
        from_ms = event.at_ms - NOTICED_LATE_MS
        yield Incident(from_ms, event.at_ms, None, why, event)
        spans = map(_chunk_span, _of(segment, "load_chunk_started"))
        ends = [end for start, end in spans if start - LAUNCH_LEAD_MS <= event.at_ms < end]
        if ends:
            yield Incident(from_ms, max(ends), frozenset({"requests"}), why, event)


def _broken_chunks(segment: Segment) -> Iterator[Incident]:
    """Chunks of load whose raw points break off, that lost requests, or whose end was never recorded."""
    ended = {event.data["chunk"]: event for event in _of(segment, "load_chunk_ended")}
    for started in _of(segment, "load_chunk_started"):
        chunk = started.data["chunk"]
        end = ended.get(chunk)
        flaw = "has no recorded end" if end is None else _flaw(end)
        if flaw:
            why = f"the chunk {chunk} of the load {flaw}"
            yield Incident(*_chunk_span(started), frozenset({"requests"}), why, end or started)


def _flaw(end: Event) -> str:
    if end.data.get("why"):
        return f"broke: {end.data['why']}"
    if end.data["truncated"]:
        return "broke: its raw points break off"
    missing = end.data.get("missing", 0)
    return f"lost {missing} requests that were due" if missing else ""


def _silences(evidence: Evidence, phases: Sequence[Window]) -> Iterator[Incident]:
    """The stretches in which a stream that must come all the time has no sample."""
    if not phases:
        return
    for stream, why, period_ms, times in _steady_streams(evidence):
        yield from _silent(stream, why, period_ms, times, phases)
    # Steps that follow each other with one load are one stretch of it.
    requests = np.asarray(evidence.samples.requests.times())
    for load, loaded in groupby(phases, lambda phase: load_in(evidence.plan, phase)):
        if load is not None:
            pause_ms = load.schedule.pause_max_ms()
            yield from _silent("requests", "no load request was due", pause_ms, requests, list(loaded))


def _silent(
    stream: str, why: str, period_ms: float, times: Floats, phases: Sequence[Window]
) -> Iterator[Incident]:
    limit_ms = PERIODS * period_ms + SLACK_MS
    for a, b in _longer(times, phases[0].from_ms, phases[-1].to_ms, limit_ms):
        # The sample before the silence is evidence, and stays so.
        yield Incident(math.nextafter(a, math.inf), b, frozenset({stream}), why)


def _steady_streams(evidence: Evidence) -> Iterator[tuple[str, str, float, Floats]]:
    """What the observer samples all the time: stream, what to say of a silence, period and times in ms."""
    plan, samples = evidence.plan, evidence.samples
    observer, canary = plan.observer, plan.target.canary
    streams = (
        (
            "probes",
            "no canary probe was sent",
            1000 / observer.canary_slow_hz,
            samples.probes.times(probe=canary),
        ),
        ("recall", "no truth query was sent", 1000 / observer.recall_hz, samples.recall.times()),
        ("memory", "no memory was read", 1000 * observer.memory_every_s, samples.memory.times()),
    )
    yield from ((stream, why, period_ms, np.asarray(times)) for stream, why, period_ms, times in streams)


def _longer(times: Floats, start_ms: float, end_ms: float, limit_ms: float) -> Iterator[tuple[float, float]]:
    """The pauses between these times, and to both ends, that are longer than a limit."""
    inside = times[(times > start_ms) & (times < end_ms)]
    known = np.concatenate(([start_ms], inside, [end_ms]))
    for place in np.flatnonzero(np.diff(known) > limit_ms):
        yield float(known[place]), float(known[place + 1])
