"""How a finding is judged whose evidence an incident has touched.

What the incident touched is left out. The rest fails by itself; it passes only where the whole, with the touched part,
passes as well. So an incident never improves a verdict, and never blames the target for what the lab did.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from lab.judge.windows.incidents import Incident
from lab.judge.windows.window import Window
from lab.model.verdict import Finding, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
# How many incidents a finding names; the others stand among the gaps.
_NAMED_MAX = 3

# Begins and ends, in ms, of what is left out.
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

    `find` judges the windows without the times that it is given.
    """
    whole = find(())
    if not touched:
        return whole
    rest = find([incident.hole for incident in touched])
    return replace(
        rest,
        verdict=_together(whole.verdict, rest.verdict),
        gate_verdict=_together(whole.gate_verdict, rest.gate_verdict),
        reason=f"{rest.reason}; left out is what an incident touched: {named(touched)}",
        fail_touched=whole.gate_verdict is FAIL,
    )


def put_in_doubt(finding: Finding, touched: Sequence[Incident]) -> Finding:
    """A finding of which nothing can be left out: INCONCLUSIVE where an incident touched what it rests on."""
    if not touched:
        return finding
    return replace(
        finding,
        verdict=INCONCLUSIVE,
        gate_verdict=INCONCLUSIVE,
        reason=f"an incident touched what this rests on: {named(touched)}; {finding.reason}",
        fail_touched=finding.gate_verdict is FAIL,
    )


def named(incidents: Sequence[Incident]) -> str:
    """What happened, in words, for the first few of them."""
    told = list(dict.fromkeys(incident.told for incident in incidents))
    more = f", and {len(told) - _NAMED_MAX} more" if len(told) > _NAMED_MAX else ""
    return ", ".join(told[:_NAMED_MAX]) + more


def _together(whole: Verdict, rest: Verdict) -> Verdict:
    if rest is FAIL:
        return FAIL
    return PASS if whole is PASS and rest is PASS else INCONCLUSIVE
