"""Was each fault's effect measured: absent before the injection, present while in force, gone after the heal?"""

from lab.judge.stats.own_traffic import STREAM, effect_of
from lab.judge.windows import references
from lab.judge.windows.incidents import JOURNAL
from lab.judge.windows.timeline import FaultWindow, Windows
from lab.judge.windows.touched import put_in_doubt
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.verdict import Finding, Verdict, undecided

CHECK = "in_force"


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding per planned fault, whether it ran or not."""
    return [_judged(evidence, windows, fault) for fault in windows.faults]


def _judged(evidence: Evidence, windows: Windows, fault: FaultWindow) -> Finding:
    finding = _finding(evidence, fault)
    return finding if fault.span is None else put_in_doubt(finding, windows.touching(JOURNAL, fault.span))


def _finding(evidence: Evidence, fault: FaultWindow) -> Finding:
    subject, where = fault.planned.id, references.events(fault.events)
    proofs = [event for event in fault.events if event.kind == "proof"]
    if doubts := fault.doubts + fault.heal_doubts + fault.shared_doubts:
        return undecided(CHECK, subject, "; ".join(doubts), evidence=where, n=len(proofs))
    during = fault.proof("during")
    moments = " → ".join(_measured(fault.proof(moment)) for moment in ("before", "during", "after"))
    unit = "" if during is None else str(during.data.get("unit", ""))
    effect = effect_of(evidence, fault.events)
    # A fault that is in force beside others is proven without it.
    felt = "" if effect is None or any(effect.doubts()) else f"; {effect.in_words}"
    if felt and fault.span is not None:
        where += (references.samples(STREAM, fault.span.from_ms, fault.span.to_ms),)
    return Finding(
        CHECK,
        subject,
        Verdict.PASS,
        Verdict.PASS,
        f"before → in force → after: {moments} {unit}{felt}",
        observed=None if during is None else during.data.get("measured"),
        unit=unit or None,
        n=len(proofs),
        evidence=where,
    )


def _measured(proof: Event | None) -> str:
    measured = None if proof is None else proof.data.get("measured")
    return "nothing measured" if measured is None else f"{measured:.4g}"
