"""Each planned fault: what it did, what was measured as its proof, and how long the target needed to recover."""

from collections.abc import Sequence
from dataclasses import asdict

from lab.judge.stats.observations import ProbeResults, idle
from lab.judge.stats.recovery_clock import Clock, first_harm
from lab.judge.windows.timeline import FaultWindow, Windows
from lab.judge.witnesses.backlog import backlog_of
from lab.model.evidence import Evidence
from lab.model.recovery import FIVE_IN_A_ROW
from lab.model.samples import STORE_PROBE
from lab.model.verdict import Finding, worst

KEY = "faults"

# The time until recovered, from the heal and from the injection; None where it is unknown.
Clocks = tuple[Clock, Clock] | None


def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
    """One row per planned fault, whether it ran or not."""
    return [_row(evidence, fault, found) for fault in windows.faults]


def _row(evidence: Evidence, fault: FaultWindow, found: Sequence[Finding]) -> dict[str, object]:
    planned = fault.planned
    return {
        "id": planned.id,
        "kind": planned.kind,
        "target": planned.target,
        "params": dict(planned.params),
        "injected_ms": None if fault.span is None else fault.injected_ms,
        "proven_ms": _at(fault, "fault_in_force"),
        "healed_ms": _at(fault, "fault_healed"),
        "effect": _effect(fault),
        "verdict": worst(f.verdict for f in found if f.subject == planned.id).value,
        "recovery": _recovery(evidence, fault),
        "backlog": None if (backlog := backlog_of(evidence, fault)) is None else asdict(backlog),
    }


def _at(fault: FaultWindow, kind: str) -> float | None:
    event = fault.event(kind)
    return None if event is None else event.at_ms


def _effect(fault: FaultWindow) -> dict[str, object]:
    proofs = {moment: fault.proof(moment) for moment in ("before", "during", "after")}
    measured: dict[str, object] = {
        m: None if p is None else p.data.get("measured") for m, p in proofs.items()
    }
    during = proofs["during"] or proofs["before"]
    unit = None if during is None else during.data.get("unit")
    return {**measured, "unit": unit, "holds": not fault.doubts}


def _recovery(evidence: Evidence, fault: FaultWindow) -> dict[str, object]:
    """When the first harm was detected, and when each kind of recovery came; from the heal and from the injection."""
    stream = fault.stream
    clocks_by_name: dict[str, Clocks] = {
        "answers": fault.clocks(stream.answering(), stream.rule),
        "slo": fault.recovery,
        "recall": fault.clocks(*stream.accurate()),
        "idle": _idle(evidence, fault),
    }
    detected = _detected(fault)
    return {
        "detected_s": None if detected is None else detected.hi_s,
        "detected": _interval(detected),
        "from_heal": {name: _interval(found and found[0]) for name, found in clocks_by_name.items()},
        "from_injection": {name: _interval(found and found[1]) for name, found in clocks_by_name.items()},
        "slower_limits_ms": {} if stream.limits is None else dict(stream.limits.slower),
    }


def _idle(evidence: Evidence, fault: FaultWindow) -> Clocks:
    """When the store had nothing to do any more, such as optimising its segments."""
    if fault.span is None:
        return None
    readings = ProbeResults.read(evidence.samples.probes, STORE_PROBE, fault.span.from_ms, fault.span.to_ms)
    return fault.clocks(idle(readings), FIVE_IN_A_ROW)


def _detected(fault: FaultWindow) -> Clock | None:
    if fault.span is None:
        return None
    recovered_ms = float("inf") if fault.recovering is None else fault.recovering.sent_ms
    return first_harm(fault.stream.in_slo, fault.span.from_ms, recovered_ms, fault.stream.rule)


def _interval(clock: Clock | None) -> dict[str, object] | None:
    if clock is None:
        return None
    return {"lo_s": clock.lo_s, "hi_s": clock.hi_s, "censored": clock.censored}
