"""Recall and availability per subject, in total and for each window."""

from collections.abc import Sequence

import numpy as np

from lab.judge.checks.accuracy import CHECK
from lab.judge.stats.intervals import mean_interval, seed_of
from lab.judge.windows.answers import answered, asked_between, by_query
from lab.judge.windows.steady_load import SUBJECT as STEADY
from lab.judge.windows.timeline import Windows
from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.samples import Recall
from lab.model.verdict import Finding

KEY = "accuracy"


def describe(evidence: Evidence, windows: Windows, found: Sequence[Finding]) -> list[dict[str, object]]:
    """One row for the steady state and for each kind of fault, from injection until recovered, per search mode."""
    subjects = {STEADY: list(windows.steady)}
    for fault in windows.faults:
        window = fault.until_recovered
        subjects.setdefault(fault.planned.kind, []).extend([] if window is None else [window])
    modes = sorted({row.mode for row in evidence.samples.recall}) or [evidence.plan.target.recall_mode]
    return [_row(evidence, name, mode, spans) for name, spans in subjects.items() for mode in modes]


def _row(evidence: Evidence, subject: str, mode: str, spans: Sequence[Window]) -> dict[str, object]:
    by_window = [
        (w, [r for r in asked_between(evidence, w.from_ms, w.to_ms) if r.mode == mode]) for w in spans
    ]
    rows = [row for _, inside in by_window for row in inside]
    figures = _figures(rows)
    values = by_query(answered(rows))
    interval = mean_interval(values, seed_of(evidence.plan.seed, CHECK, subject)) if values.size else None
    return {
        "subject": subject,
        "mode": mode,
        **figures,
        "recall_ci": None if interval is None else [interval.lo, interval.hi],
        "recall_p10": float(np.quantile(values, 0.1, method="inverted_cdf")) if values.size else None,
        "windows": [{"window": window.name, **_figures(inside)} for window, inside in by_window],
    }


def _figures(rows: Sequence[Recall]) -> dict[str, object]:
    answers = answered(rows)
    values = by_query(answers)
    return {
        "answered": len(answers),
        "unanswered": len(rows) - len(answers),
        "recall_mean": float(values.mean()) if values.size else None,
    }
