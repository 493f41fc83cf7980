"""The window of each planned fault: when it was in force and healed, what proves it, and when the target recovered."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lab.judge.stats.observations import Observation, Observations
from lab.judge.stats.own_traffic import traffic_doubts
from lab.judge.stats.recovery_clock import Clock, clocks, recovery_point
from lab.judge.windows.fault_events import doubts, first, heal_doubts, last, proofs_at
from lab.judge.windows.segments import Segment
from lab.judge.windows.window import Window
from lab.judge.witnesses.streams import Stream, Streams
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.plan import PlannedFault
from lab.model.recovery import Rule
from lab.model.undo import facts_of


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """What happened in the course of one planned fault.

    `span` reaches from the issue of its injection to the end of its step (None when it was never injected). Times from
    the injection count from its begin: an injection may take seconds, and harm comes before it has ended.
    `injected_ms` is when it was completed. `doubts` say why it does not count as proven in force, `heal_doubts` why
    its heal does not count as confirmed, `shared_doubts` the same of the faults that were in force with it. A pass
    needs all three to be empty. The clock of recovery starts between `cleared_from_ms` and `cleared_ms`, which are
    equal unless the fault passes by itself. `stream` is what the witnesses showed within the span. `recovering` is the
    good observation at which the target had recovered, and `recovery` how long that took from the heal and from the
    injection.
    """

    planned: PlannedFault
    events: tuple[Event, ...]
    span: Window | None
    injected_ms: float
    cleared_from_ms: float | None
    cleared_ms: float | None
    starts: bool
    doubts: tuple[str, ...]
    heal_doubts: tuple[str, ...]
    shared_doubts: tuple[str, ...]
    stream: Stream
    recovering: Observation | None
    recovery: tuple[Clock, Clock] | None = None

    def clocks(self, observations: Observations, rule: Rule) -> tuple[Clock, Clock] | None:
        """The time until these observations show a recovery, from the heal and from the injection; None if unknown."""
        if self.span is None or self.cleared_ms is None:
            return None
        return clocks(
            observations, self.span.from_ms, self.cleared_ms, rule, cleared_from_ms=self.cleared_from_ms
        )

    def proof(self, moment: str) -> Event | None:
        """The measurement that counts as proof: for `during` the first one that holds, else the last one."""
        proofs = proofs_at(self.events, moment)
        holding = [event for event in proofs if moment == "during" and event.data.get("holds") is True]
        return next(iter(holding), proofs[-1] if proofs else None)

    def event(self, kind: str) -> Event | None:
        """The last event of a kind in this fault's journal events."""
        return last(self.events, kind)

    @property
    def cleared_by_another(self) -> str:
        """A remark for the case that the clock starts at the later heal of another fault that was in force with it."""
        healed = self.event("fault_healing" if self.starts else "fault_healed")
        late = healed is not None and self.cleared_ms is not None and self.cleared_ms > healed.at_ms
        return " (the last heal of its step, when nothing was in force any more)" if late else ""

    @property
    def until_recovered(self) -> Window | None:
        """From the injection until the target recovered, or to the end of the step if it never did."""
        if self.span is None or self.recovering is None:
            return self.span
        return Window(
            self.span.name, self.span.phase, self.span.from_ms, self.recovering.done_ms, self.planned.id
        )


class FaultWindows:
    """Derives the window of each fault from the journal's events, which are sorted by fault once."""

    def __init__(self, evidence: Evidence, phases: Sequence[Window], segments: Sequence[Segment]) -> None:
        self._evidence, self._segments = evidence, segments
        self._events = _events_by_fault(evidence)
        self._together = {fault.id: step.faults for step in evidence.plan.steps for fault in step.faults}
        self._steps = {fault.id: step.name for step in evidence.plan.steps for fault in step.faults}
        self._phases: dict[str, list[Window]] = defaultdict(list)
        for phase in phases:
            self._phases[phase.name].append(phase)

    def find(self, streams: Streams) -> tuple[FaultWindow, ...]:
        """One window per planned fault, whether it ran or not."""
        return tuple(self._window(planned, streams) for planned in self._evidence.plan.faults())

    def unsteady(self) -> Iterator[tuple[float, float]]:
        """From when to when (ms) the run is not steady because of a fault, for each that was injected."""
        for planned in self._evidence.plan.faults():
            events = self._events_of(planned)
            injecting = first(events, "fault_injecting")
            if injecting is not None:
                yield injecting.at_ms, self._steady_again_ms(planned, injecting, last(events, "fault_healed"))

    def _steady_again_ms(self, planned: PlannedFault, injecting: Event, healed: Event | None) -> float:
        if healed is None:
            return float("inf")
        ends = [phase.to_ms for phase in self._phases[self._steps[planned.id]]]
        return max([*ends, injecting.at_ms] if ends else [self._segments[-1].to_ms])

    def _window(self, planned: PlannedFault, streams: Streams) -> FaultWindow:
        events = self._events_of(planned)
        injecting = first(events, "fault_injecting")
        span = None if injecting is None else self._span(planned, injecting)
        stream = streams.within(span)
        observations = stream.in_slo
        cleared_from_ms, cleared_ms = self._all_cleared_ms(planned) or (None, None)
        after = observations.since(float("inf") if cleared_ms is None else cleared_ms)
        recovered = recovery_point(after, stream.rule)
        window = FaultWindow(
            planned=planned,
            events=events,
            span=span,
            injected_ms=(first(events, "fault_injected") or injecting or _NOWHERE).at_ms,
            cleared_from_ms=cleared_from_ms,
            cleared_ms=cleared_ms,
            starts=injecting is not None and _heals_by_starting(injecting, planned),
            doubts=(*doubts(events), *self._cut(planned, events), *self._unfelt(planned, events)),
            heal_doubts=tuple(heal_doubts(events)),
            shared_doubts=tuple(self._shared_doubts(planned)),
            stream=stream,
            recovering=None if recovered is None else after[recovered],
        )
        return replace(window, recovery=window.clocks(observations, stream.rule))

    def _span(self, planned: PlannedFault, injecting: Event) -> Window:
        """From the injection to the end of the step, both in the segment of the injection."""
        segment = next(segment for segment in self._segments if segment.number == injecting.segment)
        phases = self._phases[self._steps[planned.id]]
        ends_ms = [phase.to_ms for phase in phases if phase.segment == injecting.segment]
        end_ms = max(ends_ms, default=segment.to_ms)
        return Window(planned.id, "fault", injecting.at_ms, max(end_ms, injecting.at_ms), planned.id)

    def _cut(self, planned: PlannedFault, events: Sequence[Event]) -> Iterable[str]:
        """The reason why a fault decides nothing if its step does not lie within one segment."""
        numbers = sorted({event.segment for event in events})
        if len(numbers) > 1:
            yield f"its step was cut between the segments {numbers[0]} and {numbers[-1]}"
        elif numbers and numbers[0] != self._segments[-1].number:
            phases = [p for p in self._phases[self._steps[planned.id]] if p.segment == numbers[0]]
            if not all(phase.complete for phase in phases):
                yield f"its step was cut by the end of segment {numbers[0]}"

    def _unfelt(self, planned: PlannedFault, events: Sequence[Event]) -> Iterable[str]:
        """Why a fault is not proven on the target's own connections."""
        alone = len(self._together[planned.id]) == 1
        return traffic_doubts(self._evidence, events, alone=alone)

    def _events_of(self, planned: PlannedFault) -> tuple[Event, ...]:
        return self._events.get(planned.id, ())

    def _all_cleared_ms(self, planned: PlannedFault) -> tuple[float, float] | None:
        """Between which moments the last fault of its step was cleared; None where a heal is not confirmed."""
        if first(self._events_of(planned), "fault_injecting") is None:
            return None
        times = [self._cleared_ms(fault) for fault in self._together[planned.id]]
        known = [time for time in times if time is not None]
        if len(known) < len(times):
            return None
        return max(first for first, _ in known), max(last for _, last in known)

    def _cleared_ms(self, planned: PlannedFault) -> tuple[float, float] | None:
        """Between which moments one fault was cleared; minus infinity for one that was never injected."""
        events = self._events_of(planned)
        injecting, healed = first(events, "fault_injecting"), last(events, "fault_healed")
        if injecting is None:
            return float("-inf"), float("-inf")
        if injecting.data.get("transient") is True:
            return (
                None if healed is None else _passed_ms(injecting, first(events, "fault_injected") or healed)
            )
        starts = _heals_by_starting(injecting, planned)
        cleared = last(events, "fault_healing", before=healed) if starts else healed
        return None if healed is None or cleared is None else (cleared.at_ms, cleared.at_ms)

    def _shared_doubts(self, planned: PlannedFault) -> Iterable[str]:
        for other in self._together[planned.id]:
            if other is not planned:
                for doubt in heal_doubts(self._events_of(other)):
                    yield f"{other.id}, in force with it: {doubt}"


def _events_by_fault(evidence: Evidence) -> Mapping[str, tuple[Event, ...]]:
    """The events of each fault."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in evidence.journal:
        if isinstance(fault := event.data.get("fault"), str):
            found[fault].append(event)
    return {fault: tuple(events) for fault, events in found.items()}


def _passed_ms(issued: Event, returned: Event) -> tuple[float, float]:
    """A fault that passes by itself (a restart) is over when its call returns; counting its hold would hide an outage.

    During the call the service may still answer until its grace period ends. So no answer before the end of the call
    shows that it has recovered, and the grace period does not count as the target's time to recover.
    """
    return issued.at_ms, returned.at_ms


_NOWHERE = Event(-1, "", 0.0, "", "", {})


def _heals_by_starting(injecting: Event, planned: PlannedFault) -> bool:
    undo = injecting.data.get("undo")
    # Journals of early versions hold no undo, and of their kinds `kill` alone was healed by a start.
    return facts_of(undo).starts_a_container if undo else planned.kind == "kill"
