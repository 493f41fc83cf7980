"""Each planned fault: what it did, what was measured of it, and how long the target needed afterwards."""

from collections.abc import Sequence

from lab.judge.checks.accuracy import RECALL_MIN
from lab.judge.stats.recovery_clock import Asked, Clock, accurate, answering, asked, idle, noticed, right
from lab.judge.windows.timeline import FaultWindow, Windows
from lab.model.evidence import Evidence
from lab.model.recovery import CANARY, FIVE_IN_A_ROW
from lab.model.samples import STORE_PROBE
from lab.model.verdict import Finding, worst

KEY = "faults"

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
    """When harm was noticed, and when each kind of well-being was back; from the heal and from the injection."""
    canary = _asked(evidence, fault, evidence.plan.target.canary)
    clocks_by_name: dict[str, Clocks] = {
        "answers": fault.clocks(answering(canary), CANARY),
        "slo": fault.recovery,
        "recall": _recall(evidence, fault, canary),
        "idle": fault.clocks(idle(_asked(evidence, fault, STORE_PROBE)), FIVE_IN_A_ROW),
    }
    detected = _detected(fault)
    return {
        "detected_s": None if detected is None else detected.hi_s,
        "detected": _told(detected),
        "from_heal": {name: _told(found and found[0]) for name, found in clocks_by_name.items()},
        "from_injection": {name: _told(found and found[1]) for name, found in clocks_by_name.items()},
    }


def _recall(evidence: Evidence, fault: FaultWindow, canary: Sequence[Asked]) -> Clocks:
    """By the canary where it counts hits, for it is asked ten times a second; else by the truth queries."""
    target, span = evidence.plan.target, fault.span
    if target.operations[target.canary].document_ids:
        return fault.clocks(accurate(canary), CANARY)
    rows = [] if span is None else evidence.samples.recall.between(span.from_ms, span.to_ms)
    return fault.clocks(right(rows, RECALL_MIN.value_of(evidence.plan.bounds)), FIVE_IN_A_ROW)


def _asked(evidence: Evidence, fault: FaultWindow, name: str) -> list[Asked]:
    span = fault.span
    return [] if span is None else asked(evidence.samples.probes, name, span.from_ms, span.to_ms)


def _detected(fault: FaultWindow) -> Clock | None:
    if fault.span is None:
        return None
    well_ms = float("inf") if fault.recovering is None else fault.recovering.sent_ms
    return noticed(fault.canary, fault.span.from_ms, well_ms)


def _told(clock: Clock | None) -> dict[str, object] | None:
    if clock is None:
        return None
    return {"lo_s": clock.lo_s, "hi_s": clock.hi_s, "censored": clock.censored}
