"""Did the target's own connections to the store cross the proxy, in proportion to the load, and none go past it?

Without that, a fault of a link acts on a link that the target does not use. That is a fault of the set-up: this check
never fails the target, and a run without its pass cannot pass.
"""

from collections.abc import Iterable, Sequence

from lab.judge.stats.own_traffic import STREAM, Crossing, crossing, past_the_proxy
from lab.judge.windows import references
from lab.judge.windows.steady_load import SUBJECT
from lab.judge.windows.timeline import Windows
from lab.judge.windows.touched import judged_apart
from lab.judge.windows.window import Window, without
from lab.model.evidence import Evidence
from lab.model.samples import OTHER, STORE
from lab.model.verdict import Bound, Finding, Verdict, undecided

CHECK = "traffic"
# A call that searches or adds sends the store one request at least, with a vector, and gets an answer. The heads of an
# HTTP request and of its answer alone have more bytes than this.
BYTES_MIN = 100
NAMED_MAX = 3


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """One finding about the steady phases, and past connections of the whole run; none for a run without the stream."""
    if not evidence.plan.reads_traffic:
        return []
    past = past_the_proxy(evidence)
    if past:
        where = (references.samples(STREAM, windows.from_ms, windows.to_ms),)
        reason = f"the target's own connections to the store go past the proxy, to {_named(past)}: {ADVICE}"
        return [undecided(CHECK, SUBJECT, reason, evidence=where, n=len(evidence.samples.traffic))]
    touched = [i for i in windows.touching(STREAM, *windows.steady) if i.event is not None]
    return [judged_apart(lambda holes: _finding(evidence, without(windows.steady, holes)), touched)]


ADVICE = "`environment` in target.yaml must lead to the proxy"


def _finding(evidence: Evidence, spans: Sequence[Window]) -> Finding:
    crossed = [_crossed(evidence, span) for span in spans]
    where = tuple(references.samples(STREAM, span.from_ms, span.to_ms) for span in spans)
    calls, moved = sum(found for _, found in crossed), sum(one.bytes for one, _ in crossed)
    if calls == 0:
        reason = "no call that needs the store was answered between two readings of a steady phase"
        return undecided(CHECK, SUBJECT, reason, evidence=where)
    share, bound = moved / calls, Bound(">=", BYTES_MIN)
    verdict = Verdict.PASS if share >= BYTES_MIN else Verdict.INCONCLUSIVE
    reason = f"{moved} bytes of the target's own connections crossed to the store for {calls} answered calls"
    if verdict is not Verdict.PASS and (others := _others(evidence, spans)):
        reason += f"; it has connections to {_named(others)}: {ADVICE}"
    return Finding(
        CHECK,
        SUBJECT,
        verdict,
        verdict,
        reason,
        observed=share,
        unit="bytes per answered call that needs the store",
        bound=bound,
        n=calls,
        evidence=where,
    )


def _crossed(evidence: Evidence, span: Window) -> tuple[Crossing, int]:
    """What crossed to the store between the first and the last reading, and the calls that were made and answered."""
    rows = evidence.samples.traffic.between(span.from_ms, span.to_ms)
    if len({row.at_ms for row in rows}) < 2:
        return crossing((), (STORE,)), 0
    needing = evidence.plan.target.needing_the_store
    fields = ("scheduled_ms", "done_ms", "op", "ok")
    requests = evidence.samples.requests.fields(fields, rows[0].at_ms, rows[-1].at_ms)
    answered = sum(
        bool(ok) and op in needing and done_ms is not None and done_ms <= rows[-1].at_ms
        for _, done_ms, op, ok in requests
    )
    return crossing(rows, (STORE,)), answered


def _others(evidence: Evidence, spans: Iterable[Window]) -> list[str]:
    rows = evidence.samples.traffic
    found = [rows.fields(("at_ms", "peer"), span.from_ms, span.to_ms, route=OTHER) for span in spans]
    return sorted({str(peer) for some in found for _, peer in some})


def _named(addresses: Sequence[str]) -> str:
    more = f" and {len(addresses) - NAMED_MAX} more" if len(addresses) > NAMED_MAX else ""
    return ", ".join(addresses[:NAMED_MAX]) + more
