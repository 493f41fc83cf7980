"""The steps as they ran, each with the worst verdict of its findings and how busy others kept the machine in it."""

from collections.abc import Sequence

from lab.judge.windows import host_cpu
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.plan import STEADY
from lab.model.verdict import Finding, Verdict, worst

KEY = "phases"


def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
    """One row per step. All steady phases share one verdict; a fault step has the worst of its own."""
    return [
        {
            "name": phase.name,
            "started_ms": phase.from_ms,
            "ended_ms": phase.to_ms if phase.complete else None,
            "verdict": _verdict(phase, found).value,
            "others_cpu_share": host_cpu.share_of_others(evidence, phase.from_ms, phase.to_ms),
            "cpu_waiting_share": host_cpu.share_waiting(evidence, phase.from_ms, phase.to_ms),
        }
        for phase in windows.phases
    ]


def _verdict(phase: Window, found: Sequence[Finding]) -> Verdict:
    subject = phase.fault or (STEADY if phase.phase == STEADY else None)
    if subject is None:
        return Verdict.NOT_TESTED
    return worst(finding.verdict for finding in found if finding.subject == subject)
