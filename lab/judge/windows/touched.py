"""How a finding is judged if an incident touched its evidence.

The touched part is left out. If the rest fails, the finding fails. It passes only if both the rest and the whole
evidence, with the touched part, pass. So an incident never improves a verdict, and the target is never blamed for what
the lab did.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from lab.judge.windows.incidents import Incident
from lab.judge.windows.window import Window
from lab.model.verdict import Finding, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
# How many incidents a finding names; the table of gaps has them all.
_NAMED_MAX = 3

# The times that are left out, each by its begin and end in ms.
Holes = Sequence[tuple[float, float]]


def touching(incidents: Iterable[Incident], stream: str, spans: Iterable[Window]) -> list[Incident]:
    """The incidents that damage a stream within any of these windows."""
    spans = tuple(spans)
    return [
        incident
        for incident in incidents
        if incident.concerns(stream) and any(incident.overlaps(span.from_ms, span.to_ms) for span in spans)
    ]


def judged_apart(find: Callable[[Holes], Finding], touched: Sequence[Incident]) -> Finding:
    """A finding that is pooled over windows, judged without what these incidents touched.

    `find` judges the windows without the times that are passed to it.
    """
    whole = find(())
    if not touched:
        return whole
    rest = find([incident.hole for incident in touched])
    return replace(
        rest,
        verdict=_together(whole.verdict, rest.verdict),
        gate_verdict=_together(whole.gate_verdict, rest.gate_verdict),
        reason=f"{rest.reason}; left out is what an incident touched: {described(touched)}",
        fail_touched=_fails(whole),
    )


def put_in_doubt(finding: Finding, touched: Sequence[Incident]) -> Finding:
    """A finding whose evidence is judged as a whole: INCONCLUSIVE if an incident touched any of it."""
    if not touched:
        return finding
    return replace(
        finding,
        verdict=INCONCLUSIVE,
        gate_verdict=INCONCLUSIVE,
        reason=f"an incident touched its evidence: {described(touched)}; {finding.reason}",
        fail_touched=_fails(finding),
    )


def described(incidents: Sequence[Incident]) -> str:
    """The first few incidents in words."""
    descriptions = list(dict.fromkeys(incident.description for incident in incidents))
    rest = len(descriptions) - _NAMED_MAX
    return ", ".join(descriptions[:_NAMED_MAX]) + (f", and {rest} more" if rest > 0 else "")


def excused(finding: Finding, shorter: tuple[Verdict, Verdict], why: str) -> Finding:
    """A failure of a time-based check that does not stand without what others took of the machine: INCONCLUSIVE.

    `shorter` is verdict and gate for the times as short as they may have been without the others. A pass stays one.
    """
    verdict = _excused(finding.verdict, shorter[0])
    gate_verdict = _excused(finding.gate_verdict, shorter[1])
    if (verdict, gate_verdict) == (finding.verdict, finding.gate_verdict):
        return finding
    return replace(
        finding,
        verdict=verdict,
        gate_verdict=gate_verdict,
        reason=f"{finding.reason}; the machine was starved: {why}, and without them it may have been in time",
        fail_touched=_fails(finding),
    )


def _excused(found: Verdict, shorter: Verdict) -> Verdict:
    return INCONCLUSIVE if found is FAIL and shorter is not FAIL else found


def _fails(finding: Finding) -> bool:
    return finding.gate_verdict is FAIL or finding.fail_touched


def _together(whole: Verdict, rest: Verdict) -> Verdict:
    if rest is FAIL:
        return FAIL
    return PASS if whole is PASS and rest is PASS else INCONCLUSIVE
