"""A plan: the scenario with all randomness spent, what it will take, and what it can decide."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.model.load import LoadProfile
from lab.model.scenario import Abort, Bounds
from lab.model.target import Target

_USUAL = Abort()
WARM_UP, STEADY, FAULT = "warm_up", "steady", "fault"
# What a run records unless its plan says otherwise. It is also what plans mean that were written before they named
# their streams, so it never changes: a stream that is added later is named by the plans that expect it.
USUAL_STREAMS = ("requests", "probes", "recall", "memory", "host")


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault in a plan. It stays in force for `hold_s`, then recovery is watched for at most `recovery_max_s`.

    After `lease_s` from its injection the guardian takes the run for hung, ends it and heals.
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
    """One stretch of the run: warm-up and steady steps last `duration_s`, a fault step at least that.

    The faults of one step are injected in order, are in force together, and are healed in reverse. `load` is what the
    load generator sends meanwhile, None for no load at all.
    """

    name: str
    kind: str
    duration_s: float
    faults: tuple[PlannedFault, ...] = ()
    load: LoadProfile | None = None


@dataclass(frozen=True, slots=True)
class ObserverPlan:
    """Canary and recall rates (Hz). The canary is fast from injection until recovered, slow otherwise.

    `share_max` is the part of the target's CPU capacity that both may take in the steady phases.
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


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the planned duration can decide one check of one subject; `needs_s` is the duration that would."""

    check: str
    subject: str
    decidable: bool
    reason: str
    needs_s: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run does, in order, and everything a judge needs to know about what was meant.

    `streams` names the tables of samples that the run must leave; a table that is not named may be absent.
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

    def __post_init__(self) -> None:
        # The journal names a profile, and the judge must find the one that it means.
        loads = self.loads()
        for step in self.steps:
            if step.load is not None and step.load not in loads:
                raise ValueError(f"two different loads of this plan have the name {step.load.name!r}")

    def faults(self) -> tuple[PlannedFault, ...]:
        """The planned faults in the order in which they will be injected."""
        return tuple(fault for step in self.steps for fault in step.faults)

    def loads(self) -> tuple[LoadProfile, ...]:
        """The different load profiles of the steps, in the order in which they begin."""
        return tuple({step.load.name: step.load for step in self.steps if step.load is not None}.values())

    def decision(self, check: str, subject: str) -> Decision | None:
        """What the planner said about one check of one subject."""
        return next((d for d in self.decisions if (d.check, d.subject) == (check, subject)), None)
