"""What the plan's witnesses showed around one fault, rated for the recovery clocks.

Runs of older plans have one witness, the canary, which is asked ten times a second until the target has recovered. In
newer ones the load is the main witness. Its requests, the canary and the truth queries make one stream of observations,
in order of sending.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from lab.judge.stats.intervals import Flags, Floats
from lab.judge.stats.observations import (
    Observations,
    ProbeResults,
    accurate,
    accurate_enough,
    answering,
    within_slo,
)
from lab.judge.windows.answers import RECALL_MIN
from lab.judge.windows.planned_load import load_in
from lab.judge.windows.window import Window
from lab.judge.witnesses.calls import Call, calls_between
from lab.judge.witnesses.limits import Baseline, Limits
from lab.model.evidence import Evidence
from lab.model.load import LoadProfile
from lab.model.plan import BY_CANARY, BY_LOAD, BY_TRUTH, Plan
from lab.model.recovery import CANARY, FIVE_IN_A_ROW, Rule

# The longest pause between observations that still counts as observed: this many periods of the stream, within limits.
# It is never more than the maximum, because a relapse must be detected.
PAUSE_PERIODS, PAUSE_MAX_MS = 3.0, 3000.0
_TABLES = {BY_CANARY: "probes", BY_LOAD: "requests", BY_TRUTH: "recall"}


class Stream(Protocol):
    """The observations of one fault's span.

    `in_slo` are all observations, good when the right answer came in time. `rule` says what counts as recovered, and
    which pause between observations is too long; `calm_pause_ms` is that pause once the target has recovered. `limits`
    is None where the SLO alone decides what is in time. `name` is what a report calls the observations, `silence` how
    it describes a pause, and `tables` are the sample tables that hold them.
    """

    @property
    def in_slo(self) -> Observations: ...
    @property
    def rule(self) -> Rule: ...
    @property
    def calm_pause_ms(self) -> float: ...
    @property
    def limits(self) -> Limits | None: ...
    @property
    def name(self) -> str: ...
    @property
    def silence(self) -> str: ...
    @property
    def tables(self) -> tuple[str, ...]: ...

    def answering(self) -> Observations:
        """The same observations, good when the target answered, however late, and whether right or wrong."""

    def accurate(self) -> tuple[Observations, Rule]:
        """The searches of the truth, good when the right documents were found, however late; and their rule."""


def streams(evidence: Evidence, steady: Sequence[Window]) -> "Streams":
    """What makes the stream of each fault; `steady` are the steady phases."""
    compared = () if evidence.plan.observer.by_canary_alone else steady
    return Streams(evidence, Baseline.of(evidence, compared))


class Streams:
    """Makes the stream of each fault; the canary alone is rated by the SLO, and needs no baseline."""

    def __init__(self, evidence: Evidence, baseline: Baseline) -> None:
        self._evidence, self._baseline = evidence, baseline

    def within(self, span: Window | None) -> Stream:
        """The stream of one fault's span, without an observation where the fault was never injected."""
        if self._evidence.plan.observer.by_canary_alone:
            return ByCanary.of(self._evidence, span)
        calls = [] if span is None else calls_between(self._evidence, span.from_ms, span.to_ms)
        limits = self._baseline.limits_before(float("-inf") if span is None else span.from_ms)
        return ByAll.of(self._evidence, span, calls, limits)


@dataclass(frozen=True, slots=True, eq=False)
class ByCanary:
    """The canary probes of one fault's span, as they were stored and as the SLO rates them."""

    evidence: Evidence
    span: Window | None
    probes: ProbeResults
    in_slo: Observations
    rule: Rule
    limits: Limits | None = None
    name: str = "canary probes"
    silence: str = "no canary probe was sent"
    tables: tuple[str, ...] = ("probes",)

    @classmethod
    def of(cls, evidence: Evidence, span: Window | None) -> "ByCanary":
        """The probes that were sent within the span."""
        probes = ProbeResults.of(())
        if span is not None:
            name = evidence.plan.target.canary
            probes = ProbeResults.read(evidence.samples.probes, name, span.from_ms, span.to_ms)
        plan = evidence.plan
        return cls(
            evidence, span, probes, within_slo(probes, plan.observer.canary_slo_ms), plan.recovery_rule
        )

    @property
    def calm_pause_ms(self) -> float:
        """Longer than before the recovery, because the canary is slow then on purpose."""
        return _pause_ms(self.evidence.plan.observer.canary_slow_hz)

    def answering(self) -> Observations:
        """Good when answered, however late, and whether right or wrong."""
        return answering(self.probes)

    def accurate(self) -> tuple[Observations, Rule]:
        """By the canary if it counts hits, because it is asked ten times a second; otherwise by the truth queries."""
        plan = self.evidence.plan
        if plan.target.operations[plan.target.canary].document_ids:
            return accurate(self.probes), self.rule
        if self.span is None:
            return Observations.of(()), FIVE_IN_A_ROW
        queries = self.evidence.samples.recall.between(self.span.from_ms, self.span.to_ms)
        return accurate_enough(queries, RECALL_MIN.value_of(plan.bounds)), FIVE_IN_A_ROW


@dataclass(frozen=True, slots=True, eq=False)
class ByAll:
    """The calls of all witnesses in one fault's span, as columns: float64[n] each, and bool[n].

    `found` is NaN for a call that does not search the truth.
    """

    from_ms: Floats
    over_ms: Floats
    in_time: Flags
    answered: Flags
    right: Flags
    found: Floats
    limits: Limits
    rule: Rule
    tables: tuple[str, ...]
    name: str = "observations"
    silence: str = "nobody observed the target"

    @classmethod
    def of(cls, evidence: Evidence, span: Window | None, calls: Sequence[Call], limits: Limits) -> "ByAll":
        """The calls, which must be in order of sending."""
        return cls(
            np.array([call.from_ms for call in calls], np.float64),
            np.array([call.over_ms for call in calls], np.float64),
            np.array([call.took_ms <= limits.ms_of(call.operation) for call in calls], np.bool_),
            np.array([call.answered for call in calls], np.bool_),
            np.array([call.right for call in calls], np.bool_),
            # NumPy makes a NaN of None.
            np.array([call.found for call in calls], np.float64),
            limits,
            replace(evidence.plan.recovery_rule, gap_ms=_pause_ms(_rate_per_s(evidence, span))),
            tuple(_TABLES[name] for name in evidence.plan.observer.witnesses),
        )

    @property
    def calm_pause_ms(self) -> float:
        """The same as before the recovery, because the load does not change with it."""
        return self.rule.gap_ms

    @property
    def in_slo(self) -> Observations:
        """Good when the right answer came in time and a search of the truth found enough."""
        enough = np.isnan(self.found) | (self.found >= self.limits.found_min)
        return self._rated(self.right & self.in_time & enough)

    def answering(self) -> Observations:
        """Good when answered, however late, and whether right or wrong."""
        return self._rated(self.answered)

    def accurate(self) -> tuple[Observations, Rule]:
        """The searches of the truth, whoever made them; they are too rare for the rule of all observations."""
        searches = ~np.isnan(self.found)
        good = self.answered & (self.found >= self.limits.found_min)
        return self._rated(good).where(searches), FIVE_IN_A_ROW

    def _rated(self, good: Flags) -> Observations:
        return Observations(self.from_ms, self.over_ms, good, np.ones(good.size, np.bool_))


def _rate_per_s(evidence: Evidence, span: Window | None) -> float:
    return observations_per_s(evidence.plan, None if span is None else load_in(evidence.plan, span))


def observations_per_s(plan: Plan, load: LoadProfile | None) -> float:
    """The observations a second that the plan promises under a load: canary probes, and requests that no known issue
    may explain.
    """
    rate_per_s = plan.observer.canary_slow_hz if BY_CANARY in plan.observer.witnesses else 0.0
    if load is None or BY_LOAD not in plan.observer.witnesses:
        return rate_per_s
    explained = {issue.operation for issue in plan.target.known_issues}
    usable = sum(share for name, share in load.mix.items() if name not in explained)
    return rate_per_s + load.schedule.expected(0.0, 1000.0) * usable / sum(load.mix.values())


def _pause_ms(rate_per_s: float) -> float:
    periods_ms = PAUSE_PERIODS * 1000 / rate_per_s if rate_per_s > 0 else PAUSE_MAX_MS
    return min(PAUSE_MAX_MS, max(CANARY.gap_ms, periods_ms))
