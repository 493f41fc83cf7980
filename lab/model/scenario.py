"""What a user asks for: a campaign, before any randomness is spent."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One fault as asked for; `params` is the kind's own frozen parameter class (with its `target` service)."""

    kind: str
    target: str
    params: Any
    hold_s: float | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the run is held against; the defaults are the project's mission."""

    latency_p95_ms: float = 200.0
    error_rate: float = 0.01
    recovery_s: float = 30.0
    accuracy: float = 0.90


@dataclass(frozen=True, slots=True)
class Scenario:
    """A campaign: steady load, rotating faults, bounds, and the checks that the gate requires."""

    name: str
    why: str
    duration_s: float
    faults: tuple[FaultSpec, ...]
    bounds: Bounds
    required: tuple[str, ...]
    rate_per_s: float | None = None
    source: str = ""
