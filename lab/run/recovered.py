"""Since when the target has been well, while a run waits for its recovery: told by the load, the canary and the truth.

The judge decides later, from all that was stored. What is decided here is only how long the run waits.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lab.judge.stats.observations import Observation, Observations, ProbeResults, within_slo
from lab.judge.stats.recovery_clock import recovery_point
from lab.judge.windows.known_issues import declared, explains_request
from lab.judge.witnesses.calls import LATE_START_MAX_MS
from lab.judge.witnesses.limits import FACTOR, SHARE
from lab.model.plan import BY_CANARY, BY_LOAD, BY_TRUTH, Plan
from lab.model.samples import Layer, Request, Samples
from lab.ports import Recent

# The time before a fault that says how long each operation takes usually, and how many requests that takes at least.
USUAL_FROM_MS, USUAL_REQUESTS_MIN = 60_000.0, 20


@dataclass(frozen=True, slots=True)
class WellSince:
    """Tells since when the target has been well. `usual_ms` is the limit of each operation, as before the fault."""

    plan: Plan
    recent: Recent
    usual_ms: Mapping[str, float]

    @classmethod
    def before_fault(cls, plan: Plan, recent: Recent, now_ms: float) -> "WellSince":
        """Made before a fault is injected, from the requests of the last minute."""
        took_ms: dict[str, list[float]] = defaultdict(list)
        for request in recent.since(now_ms - USUAL_FROM_MS).requests.between(-math.inf, now_ms):
            if request.ok and request.done_ms is not None:
                took_ms[request.op].append(request.done_ms - request.scheduled_ms)
        usual_ms = {
            op: FACTOR * sorted(values)[int(SHARE * (len(values) - 1))]
            for op, values in took_ms.items()
            if len(values) >= USUAL_REQUESTS_MIN
        }
        return cls(plan, recent, usual_ms)

    def ms(self, healed_ms: float) -> float | None:
        """The time since when it has been well after the heal; None while it is not."""
        observations = Observations.of(self._observations(self.recent.since(healed_ms)))
        place = recovery_point(observations)
        return None if place is None else observations[place].sent_ms

    def _observations(self, rows: Samples) -> Iterator[Observation]:
        witnesses, slo_ms = self.plan.observer.witnesses, self.plan.observer.canary_slo_ms
        if BY_CANARY in witnesses:
            limit_ms = max(slo_ms, self.usual_ms.get(self.plan.target.canary, 0.0))
            yield from within_slo(ProbeResults.of(rows.probes), limit_ms)
        if BY_TRUTH in witnesses:
            limit_ms = max(slo_ms, self.usual_ms.get(self.plan.target.recall, 0.0))
            for row in rows.recall:
                if row.layer is not Layer.UNSENT:
                    yield _observed(row.sent_ms, row.done_ms, answered=row.answered, limit_ms=limit_ms)
        if BY_LOAD in witnesses:
            issues = declared(self.plan, "errors")
            for request in rows.requests:
                if _is_evidence(request) and explains_request(issues, "errors", request, ()) is None:
                    limit_ms = max(slo_ms, self.usual_ms.get(request.op, 0.0))
                    yield _observed(
                        request.scheduled_ms, request.done_ms, answered=request.ok, limit_ms=limit_ms
                    )


def _observed(sent_ms: float, done_ms: float | None, *, answered: bool, limit_ms: float) -> Observation:
    if done_ms is None:
        return Observation(sent_ms, sent_ms, good=False)
    return Observation(sent_ms, done_ms, answered and done_ms - sent_ms <= limit_ms)


def _is_evidence(request: Request) -> bool:
    """Whether a request says something about the target, and not about the load generator alone."""
    if request.sent_ms is None or request.layer in (Layer.UNSENT, Layer.LOST):
        return False
    return request.sent_ms - request.scheduled_ms <= LATE_START_MAX_MS
