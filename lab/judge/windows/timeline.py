"""Phases and fault windows, from the journal's clock alone; tags that a client set decide nothing.

A sample belongs to the window in which it was due: a request by `scheduled_ms`, a probe or truth query by
`sent_ms`. One that crosses a border is therefore counted once, where it began.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lab.judge.stats.recovery_clock import Clock, Seen, clocks, recovery_point, within_slo
from lab.judge.windows.foreign_acts import first_act
from lab.judge.windows.incidents import Incident, find_incidents
from lab.judge.windows.story import doubts, first, heal_doubts, last, looks
from lab.judge.windows.touched import touching
from lab.judge.windows.window import Window, without
from lab.model.evidence import Evidence
from lab.model.journal import Event, Journal
from lab.model.plan import STEADY, PlannedFault
from lab.model.recovery import CANARY, Rule
from lab.model.undo import facts_of


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """What became of one planned fault.

    `span` reaches from the issue of its injection to the end of its step (None when it was never injected). Times from
    the injection count from its begin: an injection may take seconds, and harm comes before it has ended.
    `injected_ms` is when it was completed. `doubts` say why it does not count as proven in force, `heal_doubts` why
    its heal does not count as confirmed, `shared_doubts` the same of the faults that were in force with it; all empty
    is what a pass needs. The clock of recovery starts between `cleared_from_ms` and `cleared_ms`, which are one unless
    the fault passes by itself. `canary` are the probes within the span, rated by the SLO, and
    `recovery` when they were well again.
    """

    planned: PlannedFault
    story: tuple[Event, ...]
    span: Window | None
    injected_ms: float
    cleared_from_ms: float | None
    cleared_ms: float | None
    starts: bool
    doubts: tuple[str, ...]
    heal_doubts: tuple[str, ...]
    shared_doubts: tuple[str, ...]
    canary: tuple[Seen, ...]
    recovering: Seen | None
    recovery: tuple[Clock, Clock] | None = None

    def clocks(self, seen: Sequence[Seen], rule: Rule) -> tuple[Clock, Clock] | None:
        """When what was seen was well again, from the heal and from the injection; None where that cannot be said."""
        if self.span is None or self.cleared_ms is None:
            return None
        return clocks(seen, self.span.from_ms, self.cleared_ms, rule, cleared_from_ms=self.cleared_from_ms)

    def proof(self, moment: str) -> Event | None:
        """The proof that counts for a moment: for `during` the first that holds, else the last look."""
        seen = looks(self.story, moment)
        holding = [e for e in seen if moment == "during" and e.data.get("holds") is True]
        return next(iter(holding), seen[-1] if seen else None)

    def event(self, kind: str) -> Event | None:
        """The last event of a kind in this fault's story."""
        return last(self.story, kind)

    @property
    def cleared_by_another(self) -> str:
        """A remark where the clock starts at the last heal of several faults that were in force together."""
        mine = self.event("fault_healing" if self.starts else "fault_healed")
        late = mine is not None and self.cleared_ms is not None and self.cleared_ms > mine.at_ms
        return " (the last heal of its step, when nothing was in force any more)" if late else ""

    @property
    def until_recovered(self) -> Window | None:
        """From the injection until recovered, or to the end of the step where it never did."""
        if self.span is None or self.recovering is None:
            return self.span
        return Window(
            self.span.name, self.span.phase, self.span.from_ms, self.recovering.done_ms, self.planned.id
        )


@dataclass(frozen=True, slots=True)
class Windows:
    """All windows of a run: every step as it ran, the steady ones without what is unsteady, the faults.

    `outside` is from when on (ms) the stack was in somebody else's hands, and why; None where it never was.
    `incidents` are what damages evidence, each with what it touches. `kinds` are the kinds of the faults that were in
    force or not yet recovered from, each from a time (ms) until the next one's.
    """

    phases: tuple[Window, ...]
    steady: tuple[Window, ...]
    faults: tuple[FaultWindow, ...]
    from_ms: float
    to_ms: float
    outside: tuple[float, str] | None = None
    incidents: tuple[Incident, ...] = ()
    kinds: tuple[tuple[float, frozenset[str]], ...] = ()

    def touching(self, stream: str, *spans: Window) -> list[Incident]:
        """The incidents that damage a stream within any of these windows."""
        return touching(self.incidents, stream, spans)

    def kinds_at(self, at_ms: float) -> frozenset[str]:
        """The kinds of the faults that were in force or not yet recovered from at a time."""
        place = bisect_right(self.kinds, at_ms, key=lambda known: known[0]) - 1
        return self.kinds[place][1] if place >= 0 else frozenset()

    def is_steady(self, at_ms: float) -> bool:
        """Whether a time falls into a steady window."""
        return any(window.holds(at_ms) for window in self.steady)


def find_windows(evidence: Evidence) -> Windows:
    """Derive all windows of a run, finished or not."""
    journal = evidence.journal
    from_ms, to_ms = _span(journal)
    phases = tuple(_phases(journal, to_ms, {s.name: s.faults[0].id for s in evidence.plan.steps if s.faults}))
    act = first_act(evidence)
    found = (_fault(planned, evidence, phases, to_ms) for planned in evidence.plan.faults())
    faults = tuple(fault if act is None else _doubting(fault, *act) for fault in found)
    unsteady = [_unsteady(fault) for fault in faults if fault.span is not None]
    if act is not None:
        unsteady.append((act[0], float("inf")))
    steady = without((phase for phase in phases if phase.phase == STEADY), unsteady)
    incidents = find_incidents(evidence, phases)
    return Windows(phases, steady, faults, from_ms, to_ms, act, incidents, tuple(_kinds(faults)))


def _kinds(faults: Iterable[FaultWindow]) -> Iterator[tuple[float, frozenset[str]]]:
    """The kinds that are there at once, from each time on at which one begins or ends."""
    spans = [(f.planned.kind, span) for f in faults if (span := f.until_recovered) is not None]
    changes = sorted({at_ms for _, span in spans for at_ms in (span.from_ms, span.to_ms)})
    begins = sorted(spans, key=lambda found: found[1].from_ms)
    there: list[tuple[str, Window]] = []
    for at_ms in changes:
        while begins and begins[0][1].from_ms <= at_ms:
            there.append(begins.pop(0))
        there = [(kind, span) for kind, span in there if span.holds(at_ms)]
        yield at_ms, frozenset(kind for kind, _ in there)


def _span(journal: Journal) -> tuple[float, float]:
    if not journal.events:
        return 0.0, 0.0
    stopped = journal.of("interrupted", "aborted", "lab_failed")
    return journal.events[0].at_ms, (stopped[0] if stopped else journal.events[-1]).at_ms


def _phases(journal: Journal, to_ms: float, faults: dict[str, str]) -> Iterable[Window]:
    for began in journal.of("phase_started"):
        name = str(began.data["step"])
        ended = journal.last("phase_ended", step=name)
        end_ms = ended.at_ms if ended is not None else max(to_ms, began.at_ms)
        yield Window(
            name, str(began.data["phase"]), began.at_ms, end_ms, faults.get(name), complete=ended is not None
        )


def _doubting(fault: FaultWindow, from_ms: float, why: str) -> FaultWindow:
    """The fault, with a doubt where its step goes on after somebody else had a hand in the stack."""
    if fault.span is None or fault.span.to_ms <= from_ms:
        return fault
    return replace(fault, doubts=(*fault.doubts, why))


def _unsteady(fault: FaultWindow) -> tuple[float, float]:
    assert fault.span is not None
    return fault.span.from_ms, fault.span.to_ms if fault.event("fault_healed") is not None else float("inf")


def _fault(planned: PlannedFault, evidence: Evidence, phases: Sequence[Window], to_ms: float) -> FaultWindow:
    story = _story(evidence, planned)
    injecting = first(story, "fault_injecting")
    starts = injecting is not None and _heals_by_starting(injecting, planned)
    span = None
    if injecting is not None:
        names = {step.name for step in evidence.plan.steps if planned in step.faults}
        end_ms = max((phase.to_ms for phase in phases if phase.name in names), default=to_ms)
        span = Window(planned.id, "fault", injecting.at_ms, max(end_ms, injecting.at_ms), planned.id)
    injected_ms = (first(story, "fault_injected") or injecting or _NOWHERE).at_ms
    canary = _canary(evidence, span)
    cleared_from_ms, cleared_ms = _all_cleared_ms(planned, evidence) or (None, None)
    after = [] if cleared_ms is None else [one for one in canary if one.sent_ms >= cleared_ms]
    at = recovery_point(after)
    window = FaultWindow(
        planned=planned,
        story=story,
        span=span,
        injected_ms=injected_ms,
        cleared_from_ms=cleared_from_ms,
        cleared_ms=cleared_ms,
        starts=starts,
        doubts=tuple(doubts(story)),
        heal_doubts=tuple(heal_doubts(story)),
        shared_doubts=tuple(_shared_doubts(planned, evidence)),
        canary=canary,
        recovering=None if at is None else after[at],
    )
    return replace(window, recovery=window.clocks(canary, CANARY))


def _story(evidence: Evidence, planned: PlannedFault) -> tuple[Event, ...]:
    return tuple(event for event in evidence.journal if event.data.get("fault") == planned.id)


def _together(planned: PlannedFault, evidence: Evidence) -> tuple[PlannedFault, ...]:
    """The faults of the same step, itself among them."""
    return next((step.faults for step in evidence.plan.steps if planned in step.faults), (planned,))


def _all_cleared_ms(planned: PlannedFault, evidence: Evidence) -> tuple[float, float] | None:
    """Between which moments the last fault of its step was cleared; None where a heal is not confirmed."""
    if first(_story(evidence, planned), "fault_injecting") is None:
        return None
    times = [_cleared_ms(one, evidence) for one in _together(planned, evidence)]
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return None
    return max(first for first, _ in known), max(last for _, last in known)


def _cleared_ms(planned: PlannedFault, evidence: Evidence) -> tuple[float, float] | None:
    """Between which moments one fault was cleared; minus infinity for one that never was in the world."""
    story = _story(evidence, planned)
    injecting, healed = first(story, "fault_injecting"), last(story, "fault_healed")
    if injecting is None:
        return float("-inf"), float("-inf")
    if injecting.data.get("transient") is True:
        return None if healed is None else _passed_ms(injecting, first(story, "fault_injected") or healed)
    starts = _heals_by_starting(injecting, planned)
    cleared = last(story, "fault_healing", before=healed) if starts else healed
    return None if healed is None or cleared is None else (cleared.at_ms, cleared.at_ms)


def _passed_ms(issued: Event, returned: Event) -> tuple[float, float]:
    """What passes by itself (a restart) is over by the end of its call, for its hold must not hide an outage.

    Within the call the service may still answer for its whole grace, so that no answer shows it well again before the
    end; and the grace is not the target's time to recover.
    """
    return issued.at_ms, returned.at_ms


def _shared_doubts(planned: PlannedFault, evidence: Evidence) -> Iterable[str]:
    for other in _together(planned, evidence):
        if other is not planned:
            for doubt in heal_doubts(_story(evidence, other)):
                yield f"{other.id}, in force with it: {doubt}"


_NOWHERE = Event(-1, "", 0.0, "", "", {})


def _heals_by_starting(injecting: Event, planned: PlannedFault) -> bool:
    undo = injecting.data.get("undo")
    # Journals of early versions hold no undo, and of their kinds `kill` alone was healed by a start.
    return facts_of(undo).starts_a_container if undo else planned.kind == "kill"


def _canary(evidence: Evidence, span: Window | None) -> tuple[Seen, ...]:
    if span is None:
        return ()
    name, slo_ms = evidence.plan.target.canary, evidence.plan.observer.canary_slo_ms
    mine = evidence.samples.probes.between(span.from_ms, span.to_ms)
    return tuple(within_slo((probe for probe in mine if probe.probe == name), slo_ms))
