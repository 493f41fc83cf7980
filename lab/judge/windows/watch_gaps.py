"""Whether a recovery was observed well enough: fault proven and healed, no long pause between probes, long enough."""

from itertools import pairwise

from lab.judge.windows.incidents import Incident
from lab.judge.windows.timeline import FaultWindow, Windows


def doubts_of(fault: FaultWindow) -> tuple[str, ...]:
    """The reasons why the recovery from this fault cannot be judged at all."""
    # A service that was started and does not answer again is a result. A fault that the lab failed to remove is not.
    started = fault.starts and fault.cleared_ms is not None
    return fault.doubts + (() if started else fault.heal_doubts) + fault.shared_doubts


def long_pause(fault: FaultWindow) -> str:
    """The first long pause between observations in words, until the recovery has held or the step ends; else empty."""
    assert fault.span is not None
    assert fault.cleared_ms is not None
    to_ms, recovering = fault.span.to_ms, fault.recovering
    recovered_ms = to_ms if recovering is None else recovering.done_ms
    end_ms = to_ms if recovering is None else min(to_ms, recovering.sent_ms + fault.stream.rule.hold_ms)
    stream, observations = fault.stream, fault.stream.in_slo
    # What was sent before the clearing or after the end is moved there, and shortens no pause.
    sent_ms = observations.sent_ms[observations.asked].clip(fault.cleared_ms, end_ms).tolist()
    for before, after in pairwise([fault.cleared_ms, *sent_ms, end_ms]):
        if after - before > (stream.rule.gap_ms if before < recovered_ms else stream.calm_pause_ms):
            return f"{stream.silence} for {(after - before) / 1000:.3g} s"
    return ""


def touching_recovery(windows: Windows, fault: FaultWindow) -> list[Incident]:
    """The incidents that damage the evidence of a recovery, without silences, which `long_pause` finds itself."""
    spans = () if fault.span is None else (fault.span,)
    touched = [incident for table in fault.stream.tables for incident in windows.touching(table, *spans)]
    return [incident for incident in touched if incident.event is not None and not incident.left_out]


def watched_too_short(fault: FaultWindow) -> str:
    """In words that the recovery was observed for less time than it must hold; else empty. Matters for a pass only."""
    if fault.span is None or fault.recovering is None:
        return ""
    watched_ms, hold_ms = fault.span.to_ms - fault.recovering.sent_ms, fault.stream.rule.hold_ms
    if hold_ms - watched_ms <= fault.stream.calm_pause_ms:
        return ""
    return f"it must hold for {hold_ms / 1000:g} s, and was watched for {watched_ms / 1000:.3g} s"


def stayed_well(fault: FaultWindow) -> str:
    """For how long no relapse was observed after the recovery: as long as it must hold, or as it was watched."""
    assert fault.span is not None
    assert fault.recovering is not None
    watched_ms = min(fault.stream.rule.hold_ms, fault.span.to_ms - fault.recovering.sent_ms)
    return f"stayed well for the {watched_ms / 1000:.3g} s in which a relapse would count"
