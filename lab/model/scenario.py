"""What a user asks for: a campaign, before any randomness is spent."""

import math
from dataclasses import dataclass, field
from typing import Any

from lab.model.quantities import MB

# What a kind that says nothing may take for one look, and for its injection and its heal together.
LOOK_MAX_S, ACT_MAX_S = 30.0, 30.0


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One fault as asked for; `params` is the kind's own frozen parameter class (with its `target` service).

    `companions` are in force together with it: injected after it in their order, healed in reverse. `where` says where
    it was asked for. What a kind says of itself beside its parameters is optional, and so read here in one place.
    """

    kind: str
    target: str
    params: Any
    hold_s: float | None = None
    companions: tuple["FaultSpec", ...] = ()
    where: str = field(default="", compare=False)

    @property
    def said(self) -> str:
        """The fault in words."""
        return f"{self.kind} on {self.target}"

    @property
    def together(self) -> tuple["FaultSpec", ...]:
        """This fault and its companions, in the order of injection."""
        return (self, *self.companions)

    @property
    def occupied(self) -> frozenset[str]:
        """What no other fault of its step may name too, from `occupies`; by default itself on its target."""
        named = getattr(self.params, "occupies", (f"what {self.kind} does to {{target}}",))
        return frozenset(one.format(target=self.target) for one in named)

    @property
    def look_max_s(self) -> float:
        """Seconds that one look at it may take."""
        return float(getattr(self.params, "look_max_s", LOOK_MAX_S))

    @property
    def act_max_s(self) -> float:
        """Seconds that its injection and one heal may take together."""
        return float(getattr(self.params, "act_max_s", ACT_MAX_S))

    @property
    def lifetime_s(self) -> float:
        """Seconds after which what it started ends by itself; infinite where it starts nothing."""
        return float(getattr(self.params, "lifetime_s", math.inf))

    @property
    def transient(self) -> bool:
        """Whether its effect passes by itself."""
        return bool(getattr(self.params, "transient", False))


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
