"""Incidents: what the lab or the machine did that damages evidence, and which evidence each of them touches.

Evidence that an incident does not touch is judged as usual. Evidence that it touches never makes a finding pass. The
judge finds incidents in the journal (a sampler died, a chunk of load broke, the wall clock stepped) and in the samples
(a steady stream has no sample for a while). What concerns the whole run, such as an interruption or a damaged journal,
is reported by the integrity check instead.
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
from lab.model.journal import CLOCK_STEPPED, LAB_ERROR, LAB_STALLED, MACHINE_SUSPENDED, Event
from lab.model.plan import TRAFFIC_EVERY_S

# The stream of the journal's events. Findings rest on it that need no samples, such as whether a fault was in force.
JOURNAL = "journal"
CLOCK_STEP_MS = 50.0
# A larger step of the wall clock touches everything that it overlaps, because much on the machine may notice it.
SMALL_STEP_MS = 1000.0
# A request that is under way for longer is late by every bound that can be set for the latency.
UNDER_WAY_MS = 5000.0
# The lab may detect a dead sampler or a step of the clock this much later than it happened. It checks four times a
# second, but not while it waits for a call.
DETECTION_DELAY_MS = 5000.0
# A writer that is killed loses at most the rows of its last second.
ROWS_AT_RISK_MS = 1000.0
# Events of the guardian which show that it had to end or heal a run.
GUARDIAN_ACTS = ("fenced", "ended_process", "healed")
# The load generator reads the wall clock for a chunk when it creates the chunk's container, up to this long before.
LAUNCH_LEAD_MS = 6000.0
# A steady stream is silent if this many of its periods pass without a sample, and the time that a busy machine may add.
SILENT_PERIODS, SLACK_MS = 3.0, 1000.0
# The streams of each sampler in older runs. Newer journals name the streams themselves.
_STREAMS_OF = {
    "observer": frozenset({"probes", "recall", "memory", "host"}),
    "probe": frozenset({"probes", "recall"}),
    "load": frozenset({"requests"}),
    "sample_store": frozenset({"requests", "probes", "recall", "memory", "host"}),
}
# The reader of the engine's events. Without it the lab cannot detect what others do to the stack.
ENGINE_LOG = "engine_log"
_CHUNK = re.compile(r"\bchunk (\d+)\b")


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that damages evidence between two times; `to_ms` is None if it lasts to the end of the run.

    `streams` are the sample tables that it touches; None means all tables and the journal's events. `event` is the
    journal's record of it; None for a silence, which shows in the samples only. An incident with `times_only` made
    times uncertain and lost no row, so it does not touch what merely counts rows. One with `left_out` does not touch a
    recovery either, because no call to the target counts that began or ended within it.
    """

    from_ms: float
    to_ms: float | None
    streams: frozenset[str] | None
    why: str
    event: Event | None = None
    times_only: bool = False
    left_out: bool = False

    def concerns(self, stream: str) -> bool:
        """Whether it damages this stream at all."""
        return self.streams is None or stream in self.streams

    def overlaps(self, from_ms: float, to_ms: float) -> bool:
        """Whether it overlaps the time from `from_ms` up to, but not including, `to_ms`."""
        if self.from_ms >= to_ms:
            return False
        return self.to_ms is None or self.to_ms > from_ms or self.from_ms >= from_ms

    @property
    def hole(self) -> tuple[float, float]:
        """The time that it touches, at least one millisecond."""
        if self.to_ms is None:
            return self.from_ms, float("inf")
        return self.from_ms, max(self.to_ms, self.from_ms + 1.0)

    @property
    def description(self) -> str:
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
        recorded = (
            *_deaths(evidence, segment),
            *_time_incidents(segment),
            *_broken_chunks(segment),
            *_errors(evidence, [phase for phase in phases if phase.segment == segment.number], segment),
        )
        found += [replace(item, to_ms=end_ms) if item.to_ms is None else item for item in recorded]
        found += _silences(evidence, [phase for phase in phases if phase.segment == segment.number])
    return tuple(sorted(found, key=lambda incident: (incident.hole, incident.description)))


def _borders(evidence: Evidence, segments: Sequence[Segment]) -> Iterator[Incident]:
    """The time between two segments, in which nothing was measured, and what ended the first segment."""
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
        from_ms, to_ms = event.at_ms - DETECTION_DELAY_MS, None
        if sampler == "probe":
            # One probe was lost, sent at most its timeout earlier. The later probes were sent as usual.
            from_ms -= evidence.plan.target.request_timeout_ms
            to_ms = event.at_ms
        if sampler == ENGINE_LOG:
            why += "; what others did to the stack from then on is unknown, so nothing after it is judged"
        if sampler == "load":
            from_ms, to_ms = _load_span(segment, reason)
        yield Incident(from_ms, to_ms, _streams(sampler, event), why, event)


def _streams(sampler: str, event: Event) -> frozenset[str] | None:
    """The streams that lack the samples of a dead sampler; None if they are not known."""
    named = event.data.get("streams")
    if sampler == ENGINE_LOG or not isinstance(named, list):
        return _STREAMS_OF.get(sampler)
    return frozenset(map(str, named))


def _of(segment: Segment, kind: str) -> list[Event]:
    return [event for event in segment.events if event.kind == kind]


def _load_span(segment: Segment, reason: str) -> tuple[float, float | None]:
    """The time of the chunk that a dead load generator names; the whole segment if it names none."""
    named = _CHUNK.search(reason)
    chunks = [e for e in _of(segment, "load_chunk_started") if named and e.data.get("chunk") == named[1]]
    return _chunk_span(chunks[0]) if chunks else (segment.from_ms, None)


def _chunk_spans(segment: Segment) -> list[tuple[float, float]]:
    return [_chunk_span(started) for started in _of(segment, "load_chunk_started")]


def _chunk_span(started: Event) -> tuple[float, float]:
    from_ms = float(started.data["scheduled_start_ms"])
    return from_ms, from_ms + float(started.data["duration_ms"])


def _time_incidents(segment: Segment) -> Iterator[Incident]:
    """What damaged times: a stall of the lab, a suspension of the machine, and steps of the wall clock."""
    for event in _of(segment, LAB_STALLED):
        from_ms, to_ms = float(event.data["from_ms"]), float(event.data["to_ms"])
        yield Incident(
            from_ms, to_ms, None, f"the lab itself stood still for {(to_ms - from_ms) / 1000:.3g} s", event
        )
    for event in _of(segment, MACHINE_SUSPENDED):
        yield from _abrupt(segment, event, f"the machine was suspended for {event.data['by_ms']} ms")
    for event in _of(segment, CLOCK_STEPPED):
        by_ms = abs(float(event.data.get("by_ms", "inf")))
        why = f"the wall clock stepped by {event.data.get('by_ms', '')} ms"
        if CLOCK_STEP_MS < by_ms <= SMALL_STEP_MS and "from_ms" in event.data:
            yield from _small_step(segment, event, by_ms, why)
        elif by_ms > CLOCK_STEP_MS:
            yield from _abrupt(segment, event, why)


def _abrupt(segment: Segment, event: Event, why: str) -> Iterator[Incident]:
    """The event touches what it overlaps. k6 uses the wall clock, so the rest of each running chunk is touched too."""
    from_ms = float(event.data.get("from_ms", event.at_ms - DETECTION_DELAY_MS))
    yield Incident(from_ms, event.at_ms, None, why, event)
    ends = [end for start, end in _chunk_spans(segment) if start - LAUNCH_LEAD_MS <= event.at_ms < end]
    if ends:
        yield Incident(from_ms, max(ends), frozenset({"requests"}), why, event)


def _small_step(segment: Segment, event: Event, by_ms: float, why: str) -> Iterator[Incident]:
    """Only k6 uses the wall clock, and its times are corrected by every known step.

    Two kinds of times stay uncertain: those of requests that were under way, and the due times in a chunk that was
    waiting for its begin.
    """
    from_ms = float(event.data["from_ms"]) - by_ms
    requests, to_ms = frozenset({"requests"}), event.at_ms + by_ms
    yield Incident(from_ms - UNDER_WAY_MS, to_ms, requests, why, event, times_only=True, left_out=True)
    for begins_ms, ends_ms in _chunk_spans(segment):
        if begins_ms - LAUNCH_LEAD_MS <= event.at_ms and from_ms < begins_ms:
            yield Incident(begins_ms, ends_ms, requests, why, event, times_only=True)


def _errors(evidence: Evidence, phases: Sequence[Window], segment: Segment) -> Iterator[Incident]:
    """Unexpected errors of the lab while it worked on one fault; each touches the step of that fault.

    An error without a fault, or with a fault that has no step, concerns the whole run and is not listed here.
    """
    steps = {fault.id: step.name for step in evidence.plan.steps for fault in step.faults}
    for event in _of(segment, LAB_ERROR):
        step = steps.get(str(event.data.get("fault")))
        where, error = event.data.get("where", ""), event.data.get("error", "")
        for span in (phase for phase in phases if phase.name == step):
            why = f"an unexpected error in the lab: {error} in {where}"
            yield Incident(min(span.from_ms, event.at_ms), max(span.to_ms, event.at_ms), None, why, event)


def _broken_chunks(segment: Segment) -> Iterator[Incident]:
    """Chunks of load that lost requests, whose raw points are cut off, or whose end was not recorded."""
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
        return "broke: its raw points are cut off"
    missing = end.data.get("missing")
    return f"lost {missing} requests that were due" if missing else ""


def _silences(evidence: Evidence, phases: Sequence[Window]) -> Iterator[Incident]:
    """The times in which a steady stream has no sample."""
    if not phases:
        return
    for stream, why, period_ms, times in _steady_streams(evidence):
        yield from _silent(stream, why, period_ms, times, phases)
    # Steps that follow each other under the same load are treated as one period of load.
    requests = np.asarray(evidence.samples.requests.times())
    for load, loaded in groupby(phases, lambda phase: load_in(evidence.plan, phase)):
        if load is not None:
            pause_ms = load.schedule.pause_max_ms()
            yield from _silent("requests", "no load request was due", pause_ms, requests, list(loaded))


def _silent(
    stream: str, why: str, period_ms: float, times: Floats, phases: Sequence[Window]
) -> Iterator[Incident]:
    limit_ms = SILENT_PERIODS * period_ms + SLACK_MS
    for a, b in _long_pauses(times, phases[0].from_ms, phases[-1].to_ms, limit_ms):
        # The sample just before the silence still counts as evidence.
        yield Incident(math.nextafter(a, math.inf), b, frozenset({stream}), why)


def _steady_streams(evidence: Evidence) -> Iterator[tuple[str, str, float, Floats]]:
    """The steady streams of the observer: name, description of a silence, period in ms, times of its samples in ms."""
    plan, samples = evidence.plan, evidence.samples
    observer, canary = plan.observer, plan.target.canary
    probed = samples.probes.times(probe=canary)
    streams = (
        ("probes", "no canary probe was sent", 1000 / observer.canary_slow_hz, probed),
        ("recall", "no truth query was sent", 1000 / observer.recall_hz, samples.recall.times()),
        ("memory", "no memory was read", 1000 * observer.memory_every_s, samples.memory.times()),
    )
    yield from ((stream, why, period_ms, np.asarray(times)) for stream, why, period_ms, times in streams)
    if plan.reads_traffic:
        times = np.asarray(samples.traffic.times())
        yield "traffic", "the target's connections were not read", 1000 * TRAFFIC_EVERY_S, times


def _long_pauses(
    times: Floats, start_ms: float, end_ms: float, limit_ms: float
) -> Iterator[tuple[float, float]]:
    """The pauses longer than a limit: between these times, before the first and after the last."""
    # A time before the start or after the end is moved there, and shortens no pause.
    marks = np.concatenate(([start_ms], times.clip(start_ms, end_ms), [end_ms]))
    for place in np.flatnonzero(np.diff(marks) > limit_ms):
        yield float(marks[place]), float(marks[place + 1])
