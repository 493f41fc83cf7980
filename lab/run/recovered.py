"""Since when the target has been well, while a run waits for its recovery: by the rules and the code of the judge.

The judge decides later, from all that was stored. What is decided here is only how long the run waits.
"""

from lab.judge.stats.recovery_clock import recovery_point
from lab.judge.windows.window import Window
from lab.judge.witnesses.limits import Baseline
from lab.judge.witnesses.streams import Streams
from lab.model.evidence import Evidence
from lab.model.journal import Journal
from lab.model.plan import BY_LOAD, FAULT, STEADY, Plan
from lab.ports import Recent


class WellSince:
    """Tells since when the target has been well after a heal; it must hear of each steady phase that has ended."""

    def __init__(self, plan: Plan, recent: Recent) -> None:
        self._plan, self._recent = plan, recent
        self._baseline = Baseline(plan)

    @property
    def canary_slow_hz(self) -> float:
        """How often the canary is sent while nobody waits for a recovery."""
        return self._plan.observer.canary_slow_hz

    @property
    def must_hold_ms(self) -> float:
        """How long a recovery must hold."""
        return self._plan.recovery_rule.hold_ms

    def add_steady(self, from_ms: float, to_ms: float) -> None:
        """Learn how long each operation takes usually, from the newest rows of a steady phase."""
        self._baseline.add(self._evidence(from_ms), Window(STEADY, STEADY, from_ms, to_ms))

    def ms(self, fault: str, healed_ms: float) -> float | None:
        """The time since when it has been well after the heal of a fault; None while it is not."""
        streams = Streams(self._evidence(healed_ms), self._baseline)
        stream = streams.within(Window(fault, FAULT, healed_ms, float("inf"), fault))
        observations = stream.in_slo
        place = recovery_point(observations, stream.rule)
        return None if place is None else observations[place].sent_ms

    def known_until_ms(self, healed_ms: float) -> float:
        """Up to when the target's answers after the heal are known.

        k6's rows arrive a second or more after their answers. A relapse in rows that have not arrived would be found
        by the judge alone. So the newest request counts where the load is a witness and there is one, else the newest
        probe.
        """
        samples = self._recent.since(healed_ms)
        by_load = BY_LOAD in self._plan.observer.witnesses
        requests_ms = [request.scheduled_ms for request in samples.requests] if by_load else []
        return max(requests_ms or [probe.sent_ms for probe in samples.probes], default=healed_ms)

    def _evidence(self, from_ms: float) -> Evidence:
        return Evidence(self._plan, Journal(()), self._recent.since(from_ms))
