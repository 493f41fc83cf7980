"""What a user asks for: a campaign, before any randomness is spent."""

from dataclasses import dataclass
from typing import Any

from lab.model.quantities import MB


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One fault as asked for; `params` is the kind's own frozen parameter class (with its `target` service).

    `companions` are in force together with it: injected after it in their order, healed in reverse.
    """

    kind: str
    target: str
    params: Any
    hold_s: float | None = None
    companions: tuple["FaultSpec", ...] = ()

    @property
    def together(self) -> tuple["FaultSpec", ...]:
        """This fault and its companions, in the order of injection."""
        return (self, *self.companions)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the run is held against; the defaults are the project's mission."""

    latency_p95_ms: float = 200.0
    error_rate: float = 0.01
    recovery_s: float = 30.0
    accuracy: float = 0.90


@dataclass(frozen=True, slots=True)
class Abort:
    """When a run stops and heals by itself, so that the lab never fills a disk or starves its host.

    `canary_dark_s` is how long the target may be without one good canary probe; None for any length.
    """

    free_disk_bytes: int = 500 * MB
    host_memory_bytes: int = 250 * MB
    canary_dark_s: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A campaign: steady load, rotating faults, bounds, and the checks that the gate requires.

    Each fault is injected `trials` times.
    """

    name: str
    why: str
    duration_s: float
    faults: tuple[FaultSpec, ...]
    bounds: Bounds
    required: tuple[str, ...]
    rate_per_s: float | None = None
    source: str = ""
    abort_if: Abort = Abort()
    trials: int = 1
