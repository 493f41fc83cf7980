"""Remembers the newest rows of a run, for those who must know at once how the target does."""

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any

from lab.evidence.sample_tables import Row
from lab.model.samples import STORE_PROBE, Probe, Recall, Request, Rows, Samples, time_of
from lab.ports import Sink

# How long a row is remembered, and how many rows of a kind at most.
KEPT_MS, ROWS_MAX = 300_000.0, 50_000


class _RowsByTime:
    """The newest rows of one kind, in order of time; most rows come in that order."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._rows: list[Any] = []

    def add(self, row: Any) -> None:
        at_ms = time_of(row)
        place = bisect_right(self._times, at_ms)
        self._times.insert(place, at_ms)
        self._rows.insert(place, row)
        # What is too old is removed in bulk, because each removal moves all rows that stay.
        too_old = max(bisect_left(self._times, self._times[-1] - KEPT_MS), len(self._rows) - ROWS_MAX)
        if too_old > len(self._rows) // 8:
            del self._times[:too_old], self._rows[:too_old]

    def since(self, from_ms: float) -> list[Any]:
        return self._rows[bisect_left(self._times, from_ms) :]


class RecentRows:
    """A sink that passes all rows on, and implements `lab.ports.Recent`: what was observed of the target lately."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self._lock = sink, threading.Lock()
        self._kept: dict[type, _RowsByTime] = {kind: _RowsByTime() for kind in (Request, Probe, Recall)}

    def add(self, rows: Iterable[Row]) -> None:
        """Remember the rows, and hand them to the sink."""
        batch = list(rows)
        with self._lock:
            for row in batch:
                kept = self._kept.get(type(row))
                if kept is not None and not (isinstance(row, Probe) and row.probe == STORE_PROBE):
                    kept.add(row)
        self._sink.add(batch)

    def since(self, from_ms: float) -> Samples:
        """The requests that were due, and the probes and truth queries that were sent, since then.

        A row is among them once its answer is there, or once nobody waits for it any more.
        """
        with self._lock:
            requests, probes, recall = (kept.since(from_ms) for kept in self._kept.values())
        return Samples(Rows(requests), Rows(probes), Rows(recall))
