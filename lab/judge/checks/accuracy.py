"""Recall of the answers that the target passed off as right, in the steady state and per fault kind.

An explicit error is no answer: it lowers availability, which stands beside recall. Around a fault the pool
reaches from its injection until recovered; where fewer answers than the floor fall into that (a target that
is honest about being down gives none), it reaches to the end of the fault's step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lab.judge.stats.intervals import mean_interval, seed_of
from lab.judge.windows import references
from lab.judge.windows.answers import answered, asked_in, by_query
from lab.judge.windows.known_issues import counted, declared, explains_recall
from lab.judge.windows.steady_load import SUBJECT as STEADY
from lab.judge.windows.timeline import Window, Windows
from lab.model.evidence import Evidence
from lab.model.samples import Recall
from lab.model.verdict import Bound, Finding, Verdict, undecided

CHECK = "accuracy"
# 0.025 ** (1 / 36) = 0.903: with fewer queries even perfect answers leave 0.9 within the interval.
QUERIES_MIN = 36


@dataclass(frozen=True, slots=True)
class _Pool:
    """What one subject is judged on: tight windows, and wider ones for where those hold too little."""

    subject: str
    tight: tuple[Window, ...]
    wide: tuple[Window, ...]


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """The steady state, and each fault kind pooled over its windows; an unproven fault leaves its kind
    undecided.
    """
    found = [_finding(evidence, windows, _Pool(STEADY, windows.steady, windows.steady))]
    for kind in sorted({fault.planned.kind for fault in windows.faults}):
        mine = [fault for fault in windows.faults if fault.planned.kind == kind]
        if doubts := [f"{fault.planned.id}: {doubt}" for fault in mine for doubt in fault.doubts]:
            where = references.events(event for fault in mine for event in fault.story)
            found.append(undecided(CHECK, kind, "; ".join(doubts), evidence=where))
            continue
        tight = tuple(w for fault in mine if (w := fault.until_recovered) is not None)
        wide = tuple(fault.span for fault in mine if fault.span is not None)
        found.append(_finding(evidence, windows, _Pool(kind, tight, wide)))
    return found


def _finding(evidence: Evidence, windows: Windows, pool: _Pool) -> Finding:
    plan, issues = evidence.plan, declared(evidence.plan, CHECK)

    def issue(row: Recall) -> str | None:
        return explains_recall(issues, plan, row, windows.kinds_at(row.sent_ms))

    def judged(leave_out: bool) -> list[Recall]:
        for spans in (pool.tight, pool.wide):
            rows = [r for r in answered(asked_in(evidence, spans)) if not (leave_out and issue(r))]
            if by_query(rows).size >= QUERIES_MIN:
                break
        return rows

    rows, gate_rows = judged(leave_out=False), judged(leave_out=True)
    values, gate_values = by_query(rows), by_query(gate_rows)
    where = tuple(references.samples("recall", window.from_ms, window.to_ms) for window in pool.wide)
    if values.size < QUERIES_MIN:
        reason = f"{values.size} queries answered; {QUERIES_MIN} are the least that can decide"
        return undecided(CHECK, pool.subject, reason, evidence=where, n=len(rows))
    seed, bound = seed_of(plan.seed, CHECK, pool.subject), Bound(">", plan.bounds.accuracy)
    interval = mean_interval(values, seed)
    gate_interval = interval if gate_rows == rows else mean_interval(gate_values, seed)
    return Finding(
        CHECK,
        pool.subject,
        bound.judge(interval),
        bound.judge(gate_interval) if gate_values.size >= QUERIES_MIN else Verdict.INCONCLUSIVE,
        _reason(asked_in(evidence, pool.tight), rows, gate_rows),
        observed=float(values.mean()),
        unit=f"recall@{plan.observer.recall_k}",
        ci=interval,
        bound=bound,
        n=len(rows),
        evidence=where,
        known_issues=counted(issue(row) for row in rows),
    )


def _reason(asked: Sequence[Recall], rows: Sequence[Recall], gate_rows: Sequence[Recall]) -> str:
    told, empty = len(answered(asked)), sum(row.hits == 0 for row in rows)
    said = (
        f"{told} of {len(asked)} queries answered; {empty} of {len(rows)} answers without any right document"
    )
    if len(rows) > told:
        said += " (too few until recovered, so answers until the step's end count too)"
    if gate_rows != rows:
        mean = f"mean {by_query(gate_rows).mean():.4f}" if gate_rows else "nothing"
        said += f"; without known issues: {mean} over {len(gate_rows)} answers"
    return said
