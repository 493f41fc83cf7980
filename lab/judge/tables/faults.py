"""Each planned fault: what it did, what was measured of it, and how long the target needed afterwards."""

from collections.abc import Sequence

from lab.judge.recovered import CANARY, RECALL, Clock, Rule, Seen, answering, clocks, right
from lab.judge.windows import FaultWindow, Windows
from lab.model.evidence import Evidence
from lab.model.samples import Probe
from lab.model.verdict import Finding, worst

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
    """The clocks: canary answered, canary within SLO, recall back, background work done (not built)."""
    answers = answering(_probes(evidence, fault))
    rows = [
        row for row in evidence.samples.recall if fault.span is not None and fault.span.holds(row.sent_ms)
    ]
    kinds: dict[str, Clocks] = {
        "answers": _clocks(fault, answers, CANARY),
        "slo": fault.recovery,
        "recall": _clocks(fault, right(rows, evidence.plan.bounds.accuracy), RECALL),
        "idle": None,
    }
    return {
        "detected_s": _detected_s(fault),
        "from_heal": {name: _clock(found, 0) for name, found in kinds.items()},
        "from_injection": {name: _clock(found, 1) for name, found in kinds.items()},
    }


def _probes(evidence: Evidence, fault: FaultWindow) -> list[Probe]:
    name = evidence.plan.target.canary
    span = fault.span
    return [
        p for p in evidence.samples.probes if p.probe == name and span is not None and span.holds(p.sent_ms)
    ]


def _clocks(fault: FaultWindow, seen: Sequence[Seen], rule: Rule) -> Clocks:
    if fault.cleared_ms is None:
        return None
    return clocks(
        [one for one in seen if one.sent_ms >= fault.injected_ms], fault.injected_ms, fault.cleared_ms, rule
    )


def _detected_s(fault: FaultWindow) -> float | None:
    """From the injection to the end of the first bad probe after it: before that nobody could know."""
    bad = [one for one in fault.canary if one.sent_ms >= fault.injected_ms and not one.good]
    return (bad[0].done_ms - fault.injected_ms) / 1000 if bad else None


def _clock(found: Clocks, which: int) -> dict[str, object] | None:
    if found is None:
        return None
    clock = found[which]
    return {"lo_s": clock.lo_s, "hi_s": clock.hi_s, "censored": clock.censored}
