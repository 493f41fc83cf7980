"""Recall of the answers that the target passed off as right, in the steady state and per fault kind.

An explicit error is no answer: it lowers availability, which stands beside recall. Around a fault the pool
reaches from its injection until recovered; where fewer answers than the floor fall into that (a target that
is honest about being down gives none), it reaches to the end of the fault's step.
"""

from collections.abc import Sequence

from lab.judge.stats.intervals import mean_interval, seed_of
from lab.judge.windows import references
from lab.judge.windows.answers import Pool, answered, asked_in, by_query
from lab.judge.windows.known_issues import counted, declared, explains_recall
from lab.judge.windows.steady_load import SUBJECT as STEADY
from lab.judge.windows.timeline import Windows
from lab.judge.windows.touched import judged_apart
from lab.model.evidence import Evidence
from lab.model.samples import Recall
from lab.model.scenario import BoundSpec
from lab.model.verdict import Finding, Verdict, undecided

CHECK = "accuracy"
RECALL_MIN = BoundSpec(
    "accuracy", ">", "recall@10", 0.90, "mean recall, steady and per kind of fault", above=0, below=1
)
BOUNDS = (RECALL_MIN,)
# 0.025 ** (1 / 36) = 0.903: with fewer queries even perfect answers leave 0.9 within the interval.
QUERIES_MIN = 36


def findings(evidence: Evidence, windows: Windows) -> list[Finding]:
    """The steady state, and each fault kind pooled over its windows; an unproven fault leaves its kind undecided."""
    found = [_judged(evidence, windows, Pool(STEADY, windows.steady, windows.steady))]
    for kind in sorted({fault.planned.kind for fault in windows.faults}):
        mine = [fault for fault in windows.faults if fault.planned.kind == kind]
        if doubts := [f"{fault.planned.id}: {doubt}" for fault in mine for doubt in fault.doubts]:
            where = references.events(event for fault in mine for event in fault.story)
            found.append(undecided(CHECK, kind, "; ".join(doubts), evidence=where))
            continue
        tight = tuple(w for fault in mine if (w := fault.until_recovered) is not None)
        wide = tuple(fault.span for fault in mine if fault.span is not None)
        found.append(_judged(evidence, windows, Pool(kind, tight, wide)))
    return found


def _judged(evidence: Evidence, windows: Windows, pool: Pool) -> Finding:
    """The finding on a pool, without the answers that an incident touched."""
    touched = [i for i in windows.touching("recall", *pool.tight, *pool.wide) if i.event is not None]
    return judged_apart(lambda holes: _finding(evidence, windows, pool.without(holes)), touched)


def _finding(evidence: Evidence, windows: Windows, pool: Pool) -> Finding:
    plan, issues = evidence.plan, declared(evidence.plan, CHECK)

    def issue(row: Recall) -> str | None:
        return explains_recall(issues, plan, row, windows.kinds_at(row.sent_ms))

    rows = pool.answers(evidence, QUERIES_MIN)
    # The gate looks at the same windows as the verdict: where known issues leave too little of them, it is not decided
    # by answers from another time.
    gate_rows = [row for row in rows if not issue(row)]
    values, gate_values = by_query(rows), by_query(gate_rows)
    where = tuple(references.samples("recall", window.from_ms, window.to_ms) for window in pool.wide)
    if values.size < QUERIES_MIN:
        reason = f"{values.size} queries answered; {QUERIES_MIN} are the least that can decide"
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
    told, empty = len(answered(asked)), sum(row.hits == 0 for row in rows)
    said = (
        f"{told} of {len(asked)} queries answered; {empty} of {len(rows)} answers without any right document"
    )
    if len(rows) > told:
        said += " (too few until recovered, so answers until the step's end count too)"
    if gate_rows != rows:
        values = by_query(gate_rows)
        mean = f"mean {values.mean():.4f}" if gate_rows else "nothing"
        said += f"; without known issues: {mean} over {len(gate_rows)} answers"
        if values.size < QUERIES_MIN:
            said += f", of {values.size} queries; {QUERIES_MIN} are the least that can decide the gate"
    return said
