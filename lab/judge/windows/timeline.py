"""Phases and fault windows, by the journal's clock alone; tags that the load generator sets are not used.

A sample belongs to the window in which it was due: a request by `scheduled_ms`, a probe or truth query by `sent_ms`.
So a sample that ends in another window counts once, in the window where it began.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from lab.judge.stats.lab_calls import overloads
from lab.judge.windows.fault_window import FaultWindow, FaultWindows
from lab.judge.windows.foreign_acts import first_act
from lab.judge.windows.incidents import Incident, find_incidents
from lab.judge.windows.segments import Segment, find_segments
from lab.judge.windows.touched import touching
from lab.judge.windows.window import Window, without
from lab.judge.witnesses.streams import streams
from lab.model.evidence import Evidence
from lab.model.plan import STEADY

__all__ = ["FaultWindow", "Windows", "find_windows"]


@dataclass(frozen=True, slots=True)
class Windows:
    """All windows of a run: every step as it ran, the steady windows without the time of faults, and the faults.

    `outside` is the time (ms) at which somebody else first acted on the stack, and the reason in words; None if nobody
    did. `incidents` damage evidence, each with what it touches. `kinds` lists times (ms) in order, each with the kinds
    of the faults that were in force or not yet recovered from, until the next time in the list.
    """

    phases: tuple[Window, ...]
    steady: tuple[Window, ...]
    faults: tuple[FaultWindow, ...]
    from_ms: float
    to_ms: float
    outside: tuple[float, str] | None = None
    incidents: tuple[Incident, ...] = ()
    kinds: tuple[tuple[float, frozenset[str]], ...] = ()
    segments: tuple[Segment, ...] = ()

    def touching(self, stream: str, *spans: Window) -> list[Incident]:
        """The incidents that damage a stream within any of these windows."""
        return touching(self.incidents, stream, spans)

    def kinds_at(self, at_ms: float) -> frozenset[str]:
        """The kinds of the faults that were in force or not yet recovered from at a time."""
        place = bisect_right(self.kinds, at_ms, key=lambda item: item[0]) - 1
        return self.kinds[place][1] if place >= 0 else frozenset()

    def is_steady(self, at_ms: float) -> bool:
        """Whether a time falls into a steady window."""
        return any(window.holds(at_ms) for window in self.steady)


def find_windows(evidence: Evidence) -> Windows:
    """Derive all windows of a run, finished or not."""
    journal = evidence.journal
    segments = find_segments(journal)
    from_ms, to_ms = _span(segments)
    phases = tuple(_phases(evidence, segments, to_ms))
    outside = first_act(evidence)
    finder = FaultWindows(evidence, phases, segments)
    unsteady = list(finder.unsteady())
    if outside is not None:
        unsteady.append((outside[0], float("inf")))
    steady = without((phase for phase in phases if phase.phase == STEADY), unsteady)
    found = finder.find(streams(evidence, steady))
    faults = tuple(fault if outside is None else _doubting(fault, *outside) for fault in found)
    incidents = (
        *find_incidents(evidence, phases, segments),
        *overloads(evidence, steady, faults, to_ms),
    )
    return Windows(
        phases, steady, faults, from_ms, to_ms, outside, incidents, tuple(_kinds(faults)), segments
    )


def _span(segments: Sequence[Segment]) -> tuple[float, float]:
    """From the run's first event to its last, or to the event that stopped it."""
    kinds = ("interrupted", "aborted", "lab_failed")
    stopped = next((event for event in segments[-1].events if event.kind in kinds), None)
    end_ms = segments[-1].events[-1].at_ms if segments[-1].events else 0.0
    return segments[0].from_ms, end_ms if stopped is None else stopped.at_ms


def _phases(evidence: Evidence, segments: Sequence[Segment], to_ms: float) -> Iterator[Window]:
    """Each step as it ran, within one segment. A step without a recorded end lasts to the end of its segment."""
    faults = {step.name: step.faults[0].id for step in evidence.plan.steps if step.faults}
    ends = {
        (event.segment, str(event.data.get("step"))): event for event in evidence.journal.of("phase_ended")
    }
    ends_ms = {segment.number: to_ms if segment.last else segment.to_ms for segment in segments}
    for began in evidence.journal.of("phase_started"):
        name = str(began.data["step"])
        ended = ends.get((began.segment, name))
        end_ms = ended.at_ms if ended is not None else max(ends_ms[began.segment], began.at_ms)
        yield Window(
            name,
            str(began.data["phase"]),
            began.at_ms,
            end_ms,
            faults.get(name),
            complete=ended is not None,
            segment=began.segment,
        )


def _doubting(fault: FaultWindow, from_ms: float, why: str) -> FaultWindow:
    """The fault, with a doubt if its step lasted beyond the time at which somebody else acted on the stack."""
    if fault.span is None or fault.span.to_ms <= from_ms:
        return fault
    return replace(fault, doubts=(*fault.doubts, why))


def _kinds(faults: Iterable[FaultWindow]) -> Iterator[tuple[float, frozenset[str]]]:
    """Each time at which a fault begins or has been recovered from, with the kinds that are present from then on."""
    spans = [(f.planned.kind, span) for f in faults if (span := f.until_recovered) is not None]
    changes = sorted({at_ms for _, span in spans for at_ms in (span.from_ms, span.to_ms)})
    waiting = sorted(spans, key=lambda item: item[1].from_ms)
    present: list[tuple[str, Window]] = []
    for at_ms in changes:
        while waiting and waiting[0][1].from_ms <= at_ms:
            present.append(waiting.pop(0))
        present = [(kind, span) for kind, span in present if span.holds(at_ms)]
        yield at_ms, frozenset(kind for kind, _ in present)
