"""Recall of the answers for which the target claimed success, in the steady state and per kind of fault.

An explicit error is no answer. It lowers availability, which the report shows beside recall. For a fault, answers count
from its injection until the target has recovered. If they are too few, as for a target that answers with errors while
it is down, answers count until the end of the fault's step.
"""

from collections.abc import Sequence

from lab.judge.stats.intervals import mean_interval, seed_of
from lab.judge.windows import references
from lab.judge.windows.answers import RECALL_MIN, Pool, answered, asked_in, by_query, tables
from lab.judge.windows.known_issues import counted, declared, explains_recall
from lab.judge.windows.steady_load import SUBJECT as STEADY
from lab.judge.windows.timeline import Windows
from lab.judge.windows.touched import judged_apart
from lab.model.evidence import Evidence
from lab.model.samples import Recall
from lab.model.verdict import Finding, Verdict, undecided

CHECK = "accuracy"
BOUNDS = (RECALL_MIN,)
# 0.025 ** (1 / 36) = 0.903. With fewer queries the interval includes 0.9 even if every answer is perfect.
QUERIES_MIN = 36


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """The steady state, and each kind of fault over all its windows. One unproven fault leaves its kind undecided."""
    found = [_judged(evidence, windows, Pool(STEADY, windows.steady, windows.steady))]
    for kind in sorted({fault.planned.kind for fault in windows.faults}):
        faults = [fault for fault in windows.faults if fault.planned.kind == kind]
        if doubts := [f"{fault.planned.id}: {doubt}" for fault in faults for doubt in fault.doubts]:
            where = references.events(event for fault in faults for event in fault.events)
            found.append(undecided(CHECK, kind, "; ".join(doubts), evidence=where))
            continue
        tight = tuple(w for fault in faults if (w := fault.until_recovered) is not None)
        wide = tuple(fault.span for fault in faults if fault.span is not None)
        found.append(_judged(evidence, windows, Pool(kind, tight, wide)))
    return found


def _judged(evidence: Evidence, windows: Windows, pool: Pool) -> Finding:
    """The finding about a pool, without the answers that an incident touched."""
    spans = (*pool.tight, *pool.wide)
    touched = [
        i for table in tables(evidence) for i in windows.touching(table, *spans) if i.event is not None
    ]
    return judged_apart(lambda holes: _finding(evidence, windows, pool.without(holes)), touched)


def _finding(evidence: Evidence, windows: Windows, pool: Pool) -> Finding:
    plan, issues = evidence.plan, declared(evidence.plan, CHECK)

    def issue(row: Recall) -> str | None:
        return explains_recall(issues, plan, row, windows.kinds_at(row.sent_ms))

    rows = pool.answers(evidence, QUERIES_MIN)
    # The gate uses the same windows as the verdict. If known issues leave too few answers in them, answers from a
    # longer time do not decide the gate.
    gate_rows = [row for row in rows if not issue(row)]
    values, gate_values = by_query(rows), by_query(gate_rows)
    where = tuple(
        references.samples(table, w.from_ms, w.to_ms) for table in tables(evidence) for w in pool.wide
    )
    if values.size < QUERIES_MIN:
        reason = f"{values.size} queries answered; at least {QUERIES_MIN} are needed to decide"
        return undecided(CHECK, pool.subject, reason, evidence=where, n=len(rows))
    seed, bound = seed_of(plan.seed, CHECK, pool.subject), RECALL_MIN.of(plan.bounds)
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
    answers, empty = len(answered(asked)), sum(row.hits == 0 for row in rows)
    reason = (
        f"{answers} of {len(asked)} queries answered; {empty} of {len(rows)} answers have no right document"
    )
    if len(rows) > answers:
        reason += " (too few before the recovery, so answers until the end of the step count too)"
    if gate_rows != rows:
        values = by_query(gate_rows)
        mean = f"mean {values.mean():.4f}" if gate_rows else "nothing"
        reason += f"; without known issues: {mean} over {len(gate_rows)} answers"
        if values.size < QUERIES_MIN:
            reason += f" to {values.size} queries; at least {QUERIES_MIN} are needed to decide the gate"
    return reason
