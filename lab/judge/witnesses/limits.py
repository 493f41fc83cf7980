"""How long an answer may take after a fault, and how many right documents it must hold: as before the fault.

An answer is in time within the larger of two times: the SLO, and one and a half times the 99th percentile of the same
operation in the steady phases before the fault. So a recovery means that the target answers as it did before. A target
that was too slow before the fault fails the check of latency, not the check of recovery. The same holds for the
documents of a search.

Without the factor, one answer in a hundred would be late on a target that has not changed at all. Two of them among 20
look like a relapse: in a simulation, 12 to 40 of 100 such targets did not count as recovered at once, and with the
factor at most 1.5.

A fault by hand has a short baseline. The 99th percentile of fewer than 100 answers is the slowest of them, and the
slowest of n answers is, in expectation, the n / (n + 1) quantile of all. So few answers make the limit stricter on
average. With fewer than 5 the SLO alone counts, because the slowest of so few says little about the usual time.
"""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lab.judge.stats.intervals import Floats, percentile
from lab.judge.windows.answers import RECALL_MIN
from lab.judge.windows.window import Window
from lab.judge.witnesses.calls import Call, calls_between
from lab.model.evidence import Evidence
from lab.model.plan import Plan

SHARE, FACTOR = 0.99, 1.5
# With fewer answers of an operation the SLO alone counts. Of more than the maximum, the latest count.
ANSWERS_MIN, ANSWERS_MAX = 5, 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as a good answer after one fault.

    `slower` has the limit in ms of each operation whose limit is above the SLO. A search of the truth must find the
    share `found_min` of the right documents.
    """

    slo_ms: float
    found_min: float
    slower: Mapping[str, float]

    def ms_of(self, operation: str) -> float:
        """The longest time that an answer of this operation may take."""
        return self.slower.get(operation, self.slo_ms)

    def in_words(self) -> str:
        """The limits above the SLO in words; empty if there are none."""
        if not self.slower:
            return ""
        named = ", ".join(f"{name} {limit_ms:.0f} ms" for name, limit_ms in sorted(self.slower.items()))
        return f"in time means within {self.slo_ms:g} ms or, as before the fault, {named}"


class Baseline:
    """The answers of the steady phases. They are read once, and kept as one number each."""

    def __init__(self, plan: Plan) -> None:
        self._slo_ms = plan.observer.canary_slo_ms
        self._recall_min = RECALL_MIN.value_of(plan.bounds)
        self._took: dict[str, _Series] = defaultdict(_Series)
        self._found = _Series()

    @classmethod
    def of(cls, evidence: Evidence, steady: Iterable[Window]) -> "Baseline":
        """The answers of all these phases."""
        baseline = cls(evidence.plan)
        for window in sorted(steady, key=lambda window: window.from_ms):
            baseline.add(evidence, window)
        return baseline

    def add(self, evidence: Evidence, window: Window) -> None:
        """Take the answers of one more phase, which must be later than those before."""
        for call in calls_between(evidence, window.from_ms, window.to_ms):
            # What was still under way when the phase ended may have met the fault that ended it.
            if call.over_ms < window.to_ms:
                self._keep(call)

    def limits_before(self, at_ms: float) -> Limits:
        """The limits after a fault that was injected at this time."""
        before = {operation: series.before(at_ms) for operation, series in sorted(self._took.items())}
        usual_ms = {
            operation: FACTOR * percentile(took_ms, SHARE)
            for operation, took_ms in before.items()
            if took_ms.size >= ANSWERS_MIN
        }
        found = self._found.before(at_ms)
        found_usually = percentile(found, 1 - SHARE) if found.size >= ANSWERS_MIN else self._recall_min
        return Limits(
            self._slo_ms,
            min(self._recall_min, found_usually),
            {operation: limit_ms for operation, limit_ms in usual_ms.items() if limit_ms > self._slo_ms},
        )

    def _keep(self, call: Call) -> None:
        if call.right:
            self._took[call.operation].add(call.from_ms, call.took_ms)
        if call.answered and call.found is not None:
            self._found.add(call.from_ms, call.found)


class _Series:
    """Values in order of time."""

    def __init__(self) -> None:
        self._times, self._values = array("d"), array("d")

    def add(self, at_ms: float, value: float) -> None:
        self._times.append(at_ms)
        self._values.append(value)

    def before(self, at_ms: float) -> Floats:
        """The latest values before a time, float64[n]."""
        end = bisect_left(self._times, at_ms)
        return np.array(self._values[max(0, end - ANSWERS_MAX) : end])
