"""Fault windows for direct calls of checks and tables: each states only what its test is about."""

from dataclasses import dataclass

from lab.judge.stats.observations import Observation, Observations
from lab.judge.stats.recovery_clock import Clock
from lab.judge.windows.fault_window import FaultWindow
from lab.judge.windows.window import Window
from lab.judge.witnesses.limits import Limits
from lab.model.journal import Event
from lab.model.plan import PlannedFault
from lab.model.recovery import CANARY, Rule

NOTHING = Observations.of(())


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """What one witness showed: the same observations for every kind of recovery."""

    in_slo: Observations = NOTHING
    rule: Rule = CANARY
    calm_pause_ms: float = 1500.0
    limits: Limits | None = None
    name: str = "canary probes"
    silence: str = "no canary probe was sent"
    tables: tuple[str, ...] = ("probes",)

    def answering(self) -> Observations:
        return self.in_slo

    def accurate(self) -> tuple[Observations, Rule]:
        return self.in_slo, self.rule


def observed(from_ms: float, to_ms: float, every_ms: float, bad_until_ms: float = 0.0) -> Observations:
    """Observations that are answered after 10 ms; those sent before a time are bad."""
    count = int((to_ms - from_ms) / every_ms)
    times = [from_ms + every_ms * n for n in range(count)]
    return Observations.of(Observation(at, at + 10, at >= bad_until_ms) for at in times)


def fault_window(
    planned: PlannedFault,
    span: Window | None,
    *,
    events: tuple[Event, ...] = (),
    cleared_ms: float | None = None,
    starts: bool = False,
    doubts: tuple[str, ...] = (),
    heal_doubts: tuple[str, ...] = (),
    shared_doubts: tuple[str, ...] = (),
    stream: Watched | None = None,
    recovering: Observation | None = None,
    recovery: tuple[Clock, Clock] | None = None,
) -> FaultWindow:
    """The window of a fault without doubts, of which nothing more is known than what is given."""
    return FaultWindow(
        planned=planned,
        events=events,
        span=span,
        injected_ms=0.0 if span is None else span.from_ms + 50,
        cleared_from_ms=cleared_ms,
        cleared_ms=cleared_ms,
        starts=starts,
        doubts=doubts,
        heal_doubts=heal_doubts,
        shared_doubts=shared_doubts,
        stream=stream or Watched(),
        recovering=recovering,
        recovery=recovery,
    )
