"""Counts what the lab itself asked of the target beside the load: calls that were started, and calls that waited."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from lab.judge.windows import references
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.model.capacity import Capacity
from lab.model.evidence import Evidence
from lab.model.samples import Layer

# A time of a few seconds holds too few calls for a rate: it is counted with what follows, up to this length.
WINDOW_MIN_MS = 20_000.0
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
            (target.canary, _waits(probes, limit_ms, Layer.UNSENT.value)),
            (target.recall, _waits(queries, target.request_timeout_ms, Layer.UNSENT)),
        )
        self._sent_ms = [(operation, sorted(sent_ms for sent_ms, _ in waits)) for operation, waits in asked]
        steps = [
            (at_ms, step)
            for _, waits in asked
            for wait in waits
            for at_ms, step in zip(wait, (1, -1), strict=True)
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


def _waits(rows: Iterable[Sequence[Any]], limit_ms: float, unsent: object) -> list[tuple[float, float]]:
    """When each call was sent, and when it ended."""
    return [
        (sent_ms, sent_ms + limit_ms if done_ms is None else done_ms)
        for sent_ms, done_ms, outcome in rows
        if outcome != unsent
    ]


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

    def places(self) -> tuple[str, ...]:
        """Where these calls stand in the samples."""
        return tuple(
            references.samples(table, span.from_ms, span.to_ms)
            for span in self.spans
            for table in ("probes", "recall")
        )


def states(windows: Windows) -> Iterator[tuple[str, tuple[Window, ...]]]:
    """The states of a run by name, each with its windows: steady, a fault in force, the target recovering."""
    yield "steady", windows.steady
    yield "in force", _each_once(windows, _in_force(windows))
    yield "recovering", _each_once(windows, _recovering(windows))


def _in_force(windows: Windows) -> Iterator[Window]:
    for fault in windows.faults:
        if fault.span is not None:
            yield fault.span if fault.cleared_ms is None else replace(fault.span, to_ms=fault.cleared_ms)


def _recovering(windows: Windows) -> Iterator[Window]:
    for fault in windows.faults:
        until = fault.until_recovered
        if fault.span is not None and fault.cleared_ms is not None and until is not None:
            yield replace(fault.span, from_ms=fault.cleared_ms, to_ms=max(fault.cleared_ms, until.to_ms))


def _each_once(windows: Windows, spans: Iterator[Window]) -> tuple[Window, ...]:
    """These windows, each long enough for a rate; the faults of one step share theirs."""
    longer = [
        replace(span, to_ms=max(span.to_ms, min(span.from_ms + WINDOW_MIN_MS, windows.to_ms)))
        for span in spans
    ]
    return tuple({(span.from_ms, span.to_ms): span for span in longer if span.seconds > 0}.values())
