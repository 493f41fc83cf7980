"""Whether a recovery was observed well enough: the fault proven and healed, no gap between probes, long enough."""

from itertools import pairwise

from lab.judge.windows.incidents import Incident
from lab.judge.windows.timeline import FaultWindow, Windows
from lab.model.evidence import Evidence
from lab.model.recovery import CANARY

# After the recovery the canary is slow on purpose. Then a pause of this many periods still counts as observed, but no
# pause longer than the maximum, because a relapse within the hold must be seen.
GAP_PERIODS, SLOW_GAP_MAX_MS = 3.0, 3000.0


def doubts_of(fault: FaultWindow) -> tuple[str, ...]:
    """Why the recovery from this fault cannot be judged at all."""
    # A service that does not come back after its start is a result. A fault that the lab did not remove is not.
    started = fault.starts and fault.cleared_ms is not None
    return fault.doubts + (() if started else fault.heal_doubts) + fault.shared_doubts


def hole(evidence: Evidence, fault: FaultWindow) -> str:
    """A gap between probes from the heal until the recovery has held, or to the step's end, in words; empty if none."""
    assert fault.span is not None
    assert fault.cleared_ms is not None
    to_ms, recovering = fault.span.to_ms, fault.recovering
    calm_ms = to_ms if recovering is None else recovering.done_ms
    end_ms = to_ms if recovering is None else min(to_ms, recovering.sent_ms + CANARY.hold_ms)
    sent = [one.sent_ms for one in fault.canary if one.asked and fault.cleared_ms <= one.sent_ms <= end_ms]
    slow_gap_ms = _slow_gap_ms(evidence)
    for before, then in pairwise([fault.cleared_ms, *sent, end_ms]):
        if then - before > (CANARY.gap_ms if before < calm_ms else slow_gap_ms):
            return f"no canary probe was sent for {(then - before) / 1000:.3g} s"
    return ""


def touching_recovery(windows: Windows, fault: FaultWindow) -> list[Incident]:
    """The incidents that damage what a recovery rests on; a silence of the canary is none, for `hole` finds it."""
    spans = () if fault.span is None else (fault.span,)
    return [incident for incident in windows.touching("probes", *spans) if incident.event is not None]


def not_held(evidence: Evidence, fault: FaultWindow) -> str:
    """Why the recovery was not observed for as long as it must hold, or empty; only a pass needs this."""
    if fault.span is None or fault.recovering is None:
        return ""
    watched_ms = fault.span.to_ms - fault.recovering.sent_ms
    if CANARY.hold_ms - watched_ms <= _slow_gap_ms(evidence):
        return ""
    return f"it must hold for {CANARY.hold_ms / 1000:g} s, and was watched for {watched_ms / 1000:.3g} s"


def _slow_gap_ms(evidence: Evidence) -> float:
    periods_ms = GAP_PERIODS * 1000 / evidence.plan.observer.canary_slow_hz
    return min(SLOW_GAP_MAX_MS, max(CANARY.gap_ms, periods_ms))
