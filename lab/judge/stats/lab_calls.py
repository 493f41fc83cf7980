"""Counts what the lab itself asked of the target beside the load: calls that were started, and calls that waited."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from lab.judge.windows import references
from lab.judge.windows.fault_window import FaultWindow
from lab.judge.windows.incidents import Incident
from lab.judge.windows.window import Window
from lab.model.capacity import Capacity
from lab.model.evidence import Evidence
from lab.model.plan import ObserverPlan
from lab.model.samples import Layer

# A time of a few seconds holds too few calls for a rate: it is counted with what follows, up to this length.
WINDOW_MIN_MS = 20_000.0
# What rests on how fast the target answers.
_TOUCHED = frozenset({"requests", "probes", "recall"})
_ALWAYS = (float("-inf"), float("inf"))


class LabCalls:
    """Every canary probe and truth query of a run that was sent, given-up ones included.

    A slot in which nothing was sent asked nothing of the target. A call without a recorded end is taken to have waited
    for its whole time limit.
    """

    def __init__(self, evidence: Evidence) -> None:
        plan, samples = evidence.plan, evidence.samples
        target, limit_ms = plan.target, plan.observer.canary_deadline_ms
        probes = samples.probes.fields(("sent_ms", "done_ms", "outcome"), *_ALWAYS, probe=target.canary)
        queries = samples.recall.fields(("sent_ms", "done_ms", "layer"), *_ALWAYS)
        asked = (
            (target.canary, _waits(probes, limit_ms)),
            (target.recall, _waits(queries, target.request_timeout_ms)),
        )
        self._sent_ms = [(operation, sorted(sent_ms for sent_ms, _ in waits)) for operation, waits in asked]
        steps = [
            (at_ms, step)
            for _, waits in asked
            for sent_ms, done_ms in waits
            for at_ms, step in ((sent_ms, 1), (done_ms, -1))
        ]
        # Where one call ends as another begins, the end comes first.
        steps.sort()
        self._at_ms = [at_ms for at_ms, _ in steps]
        self._waiting = list(accumulate(step for _, step in steps))

    def started(self, windows: Iterable[Window]) -> Mapping[str, int]:
        """How many calls of each operation were sent within these windows."""
        counts: Counter[str] = Counter()
        for window in windows:
            for operation, times in self._sent_ms:
                counts[operation] += bisect_left(times, window.to_ms) - bisect_left(times, window.from_ms)
        return +counts

    def waiting_max(self, windows: Iterable[Window]) -> int:
        """How many calls waited in the target at once, at most, within these windows."""
        most = 0
        for window in windows:
            # What waits as the window begins was counted by the step before.
            first = max(0, bisect_right(self._at_ms, window.from_ms) - 1)
            most = max(most, *self._waiting[first : bisect_left(self._at_ms, window.to_ms)], 0)
        return most


def _waits(rows: Iterable[Sequence[Any]], limit_ms: float) -> list[tuple[float, float]]:
    """When each call was sent, and when it ended; a stored table gives a layer as its text."""
    return [
        (sent_ms, sent_ms + limit_ms if done_ms is None else done_ms)
        for sent_ms, done_ms, outcome in rows
        if outcome not in (Layer.UNSENT, Layer.UNSENT.value)
    ]


def waiting_allowed(observer: ObserverPlan) -> int:
    """How many calls of the lab may wait in the target at once, by the plan."""
    return observer.outstanding_max + observer.recall_outstanding_max


def work_share(counts: Mapping[str, int], seconds: float, capacity: Capacity, *, fewer: int = 0) -> float:
    """The share of the capacity that these calls took; `fewer` calls of each operation are left out.

    A window of a regular schedule may hold one call more than its rate says.
    """
    if seconds <= 0:
        return 0.0
    return capacity.share({name: max(0, n - fewer) / seconds for name, n in counts.items()})


@dataclass(frozen=True, slots=True)
class AskedIn:
    """What the lab asked of the target in the windows of one state."""

    calls: LabCalls
    spans: tuple[Window, ...]
    capacity: Capacity

    def share(self) -> float:
        """The share of the capacity, over all windows."""
        return work_share(self.calls.started(self.spans), self._seconds(), self.capacity)

    def worst(self) -> tuple[float, str]:
        """The window in which it was most, without the one call of each operation that its edge may add."""
        shares = [
            (work_share(self.calls.started([span]), span.seconds, self.capacity, fewer=1), span.name)
            for span in self.spans
        ]
        return max(shares)

    def in_words(self) -> str:
        """How often it asked each operation."""
        rates = {name: n / self._seconds() for name, n in sorted(self.calls.started(self.spans).items())}
        return ", ".join(f"{name} {rate_hz:.2g}/s" for name, rate_hz in rates.items()) or "nothing"

    def _seconds(self) -> float:
        return sum(span.seconds for span in self.spans)

    def waiting(self) -> int:
        """How many of its calls waited in the target at once, at most."""
        return self.calls.waiting_max(self.spans)

    def is_small(self, observer: ObserverPlan) -> bool:
        """Whether no window is over the budget, by what it asked and by what waited."""
        return self.worst()[0] <= observer.share_max and self.waiting() <= waiting_allowed(observer)

    def places(self) -> tuple[str, ...]:
        """Where these calls stand in the samples."""
        return tuple(
            references.samples(table, span.from_ms, span.to_ms)
            for span in self.spans
            for table in ("probes", "recall")
        )


def states(
    steady: tuple[Window, ...], faults: Sequence[FaultWindow], to_ms: float
) -> Iterator[tuple[str, tuple[Window, ...]]]:
    """The states of a run by name, each with its windows: steady, a fault in force, the target recovering.

    `to_ms` is the end of the run.
    """
    yield "steady", steady
    yield "in force", _each_once(_in_force(faults), to_ms)
    yield "recovering", _each_once(_recovering(faults), to_ms)


def overloads(
    evidence: Evidence, steady: tuple[Window, ...], faults: Sequence[FaultWindow], to_ms: float
) -> Iterator[Incident]:
    """The times in which the lab itself asked too much of the target, as incidents: they decide nothing about it.

    What the lab asked while a fault was in force is worked off afterwards, so its whole step is touched.
    """
    event = evidence.journal.last("capacity_measured")
    if evidence.plan.capacity is None or event is None:
        return
    calls, ends_ms = LabCalls(evidence), {f.planned.id: f.span.to_ms for f in faults if f.span is not None}
    for name, spans in states(steady, faults, to_ms):
        for span in spans:
            asked = AskedIn(calls, (span,), evidence.plan.capacity)
            if asked.is_small(evidence.plan.observer):
                continue
            end_ms = span.to_ms if name == "steady" else max(span.to_ms, ends_ms.get(span.name, span.to_ms))
            why = f"the lab itself asked too much of the target ({asked.in_words()}) in {span.name}, {name}"
            yield Incident(span.from_ms, end_ms, _TOUCHED, why, event)


def _in_force(faults: Sequence[FaultWindow]) -> Iterator[Window]:
    for fault in faults:
        if fault.span is not None:
            yield fault.span if fault.cleared_ms is None else replace(fault.span, to_ms=fault.cleared_ms)


def _recovering(faults: Sequence[FaultWindow]) -> Iterator[Window]:
    for fault in faults:
        until = fault.until_recovered
        if fault.span is not None and fault.cleared_ms is not None and until is not None:
            yield replace(fault.span, from_ms=fault.cleared_ms, to_ms=max(fault.cleared_ms, until.to_ms))


def _each_once(spans: Iterable[Window], to_ms: float) -> tuple[Window, ...]:
    """These windows, each long enough for a rate; the faults of one step share theirs."""
    longer = [
        replace(span, to_ms=max(span.to_ms, min(span.from_ms + WINDOW_MIN_MS, to_ms))) for span in spans
    ]
    return tuple({(span.from_ms, span.to_ms): span for span in longer if span.seconds > 0}.values())
