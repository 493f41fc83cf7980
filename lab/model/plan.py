"""A plan: a scenario after every random choice is made, with its steps and with what they can decide."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lab.model.capacity import Capacity
from lab.model.load import LoadProfile
from lab.model.recovery import CANARY, STAYS_WELL_S, Rule
from lab.model.scenario import Abort, Bounds
from lab.model.target import Target

_USUAL = Abort()
WARM_UP, STEADY, FAULT = "warm_up", "steady", "fault"
# The streams that a run records unless its plan names others. Older plans name none and mean these, so this value never
# changes: a stream that is added later is named by the plans that expect it.
USUAL_STREAMS = ("requests", "probes", "recall", "memory", "host")
# Whose observations the recovery clocks use: the canary's, the load's own requests, and the truth queries.
BY_CANARY, BY_LOAD, BY_TRUTH = "canary", "load", "truth"
WITHOUT_LIMIT = 1_000_000
# Seconds over which the rate of a load is averaged, because a schedule may change within a minute.
_MEAN_OVER_S = 3600.0
# What a run records that also reads the target's own connections, and how often it reads them.
STREAMS_WITH_TRAFFIC = (*USUAL_STREAMS, "traffic")
TRAFFIC_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault in a plan. It stays in force for `hold_s`, then recovery is watched for at most `recovery_max_s`.

    If it is still in force `lease_s` after its injection, the guardian assumes that the run hangs: it ends the run and
    heals.
    """

    id: str
    kind: str
    target: str
    params: Mapping[str, Any]
    hold_s: float
    recovery_max_s: float
    lease_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the run. Warm-up and steady steps last `duration_s`, a fault step lasts at least that long.

    The faults of one step are injected in order, are in force together, and are healed in reverse order. `load` is
    what the load generator sends during the step, None for no load at all.
    """

    name: str
    kind: str
    duration_s: float
    faults: tuple[PlannedFault, ...] = ()
    load: LoadProfile | None = None


@dataclass(frozen=True, slots=True)
class ObserverPlan:
    """How often canary and recall are sent (Hz). The canary is fast from an injection until the recovery, else slow.

    A call is waited for during `canary_deadline_ms`; then its connection is ended. `outstanding_max` canary calls and
    `recall_outstanding_max` truth queries may wait in the target at once. `share_max` is the share of the target's
    capacity that all calls of the lab together may take, at any time. `witnesses` says whose observations the recovery
    clocks use; plans that do not name them are judged by the canary alone.
    """

    canary_slow_hz: float
    canary_fast_hz: float
    canary_deadline_ms: int
    canary_slo_ms: float
    outstanding_max: int
    recall_hz: float
    recall_k: int
    memory_every_s: float
    share_max: float = 0.1
    recall_outstanding_max: int = WITHOUT_LIMIT
    witnesses: tuple[str, ...] = (BY_CANARY,)

    @property
    def by_canary_alone(self) -> bool:
        """Whether the canary is the only witness, as in plans from before the load was one."""
        return self.witnesses == (BY_CANARY,)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the planned duration can decide one check of one subject; `needs_s` is a duration that can.

    `unfit` says that this machine cannot decide it, however many observations there are: not even a failure would be
    the target's.
    """

    check: str
    subject: str
    decidable: bool
    reason: str
    needs_s: float | None = None
    unfit: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run does, in order, and everything that a judge must know about its intention.

    `streams` names the tables of samples that the run must leave; a table that is not named may be absent. `capacity`
    is what the target can answer on this machine; None before it was measured, and in older plans. A recovery counts
    once the target has stayed well for `stays_well_s`.
    """

    campaign: str
    why: str
    seed: int
    duration_s: float
    steps: tuple[Step, ...]
    observer: ObserverPlan
    bounds: Bounds
    required: tuple[str, ...]
    decisions: tuple[Decision, ...]
    target: Target
    documents: int
    queries: int
    corpus: str
    abort_if: Abort = _USUAL
    streams: tuple[str, ...] = USUAL_STREAMS
    capacity: Capacity | None = None
    stays_well_s: float = STAYS_WELL_S

    def __post_init__(self) -> None:
        # The journal names a load by its name alone, so a name must mean one load.
        loads = self.loads()
        for step in self.steps:
            if step.load is not None and step.load not in loads:
                raise ValueError(f"two different loads of this plan have the name {step.load.name!r}")

    @property
    def reads_traffic(self) -> bool:
        """Whether the run reads the target's own connections; older ones did not, and only root may."""
        return "traffic" in self.streams

    @property
    def recovery_rule(self) -> Rule:
        """When a stream of observations counts as recovered."""
        return replace(CANARY, hold_ms=1000 * self.stays_well_s)

    def faults(self) -> tuple[PlannedFault, ...]:
        """The planned faults in the order in which they will be injected."""
        return tuple(fault for step in self.steps for fault in step.faults)

    def loads(self) -> tuple[LoadProfile, ...]:
        """The different load profiles of the steps, in the order in which they begin."""
        return tuple({step.load.name: step.load for step in self.steps if step.load is not None}.values())

    def load_per_s(self) -> float:
        """The mean requests a second of the busiest load; 0 where no step has one."""
        span_ms = 1000.0 * _MEAN_OVER_S
        rates = [load.schedule.expected(0.0, span_ms) / _MEAN_OVER_S for load in self.loads()]
        return round(max(rates, default=0.0), 6)

    def observer_hz(self) -> Mapping[str, float]:
        """How often the lab calls each operation beside the load, at its fastest, in calls a second."""
        rates_hz = {self.target.recall: self.observer.recall_hz}
        canary_hz = max(self.observer.canary_slow_hz, self.observer.canary_fast_hz)
        return {**rates_hz, self.target.canary: rates_hz.get(self.target.canary, 0.0) + canary_hz}

    def decision(self, check: str, subject: str) -> Decision | None:
        """The planner's decision about one check of one subject, None where there is none."""
        return next((d for d in self.decisions if (d.check, d.subject) == (check, subject)), None)
