"""Whether a recovery was observed well enough: fault proven and healed, no long pause between probes, long enough."""

from itertools import pairwise

from lab.judge.windows.incidents import Incident
from lab.judge.windows.timeline import FaultWindow, Windows
from lab.model.evidence import Evidence
from lab.model.recovery import CANARY

# Longest pause between probes, after the recovery, that still counts as observed: this many periods of the canary,
# which is slow then on purpose. It is never more than the maximum, because a relapse must be detected.
PAUSE_PERIODS, SLOW_PAUSE_MAX_MS = 3.0, 3000.0


def doubts_of(fault: FaultWindow) -> tuple[str, ...]:
    """The reasons why the recovery from this fault cannot be judged at all."""
    # A service that was started and does not answer again is a result. A fault that the lab failed to remove is not.
    started = fault.starts and fault.cleared_ms is not None
    return fault.doubts + (() if started else fault.heal_doubts) + fault.shared_doubts


def long_pause(evidence: Evidence, fault: FaultWindow) -> str:
    """The first long pause between probes in words, until the recovery has held or the step ends; else empty."""
    assert fault.span is not None
    assert fault.cleared_ms is not None
    to_ms, recovering = fault.span.to_ms, fault.recovering
    recovered_ms = to_ms if recovering is None else recovering.done_ms
    end_ms = to_ms if recovering is None else min(to_ms, recovering.sent_ms + CANARY.hold_ms)
    asked_ms = fault.canary.sent_ms[fault.canary.asked]
    sent = asked_ms[(asked_ms >= fault.cleared_ms) & (asked_ms <= end_ms)].tolist()
    slow_pause_ms = _slow_pause_ms(evidence)
    for before, after in pairwise([fault.cleared_ms, *sent, end_ms]):
        if after - before > (CANARY.gap_ms if before < recovered_ms else slow_pause_ms):
            return f"no canary probe was sent for {(after - before) / 1000:.3g} s"
    return ""


def touching_recovery(windows: Windows, fault: FaultWindow) -> list[Incident]:
    """The incidents that damage the evidence of a recovery, without silences, which `long_pause` finds itself."""
    spans = () if fault.span is None else (fault.span,)
    return [incident for incident in windows.touching("probes", *spans) if incident.event is not None]


def watched_too_short(evidence: Evidence, fault: FaultWindow) -> str:
    """In words that the recovery was observed for less time than it must hold; else empty. Matters for a pass only."""
    if fault.span is None or fault.recovering is None:
        return ""
    watched_ms = fault.span.to_ms - fault.recovering.sent_ms
    if CANARY.hold_ms - watched_ms <= _slow_pause_ms(evidence):
        return ""
    return f"it must hold for {CANARY.hold_ms / 1000:g} s, and was watched for {watched_ms / 1000:.3g} s"


def _slow_pause_ms(evidence: Evidence) -> float:
    periods_ms = PAUSE_PERIODS * 1000 / evidence.plan.observer.canary_slow_hz
    return min(SLOW_PAUSE_MAX_MS, max(CANARY.gap_ms, periods_ms))
