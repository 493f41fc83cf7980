"""The answers to truth queries, as the accuracy check and its table look at them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from lab.judge.stats.intervals import Floats
from lab.judge.windows.timeline import Window
from lab.model.evidence import Evidence
from lab.model.samples import Recall


def asked_in(evidence: Evidence, spans: Sequence[Window]) -> list[Recall]:
    """The truth queries that were sent within any of these windows."""
    return [row for row in evidence.samples.recall if any(span.holds(row.sent_ms) for span in spans)]


def answered(rows: Iterable[Recall]) -> list[Recall]:
    """Those that the target answered with a claim of success, right or wrong."""
    return [row for row in rows if row.answered]


def by_query(rows: Iterable[Recall]) -> Floats:
    """Mean recall per query, float64[queries] in order of their ids: the query is the unit, not the row."""
    shares: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        shares[row.query_id].append(row.hits / row.k)
    return np.array([float(np.mean(shares[query])) for query in sorted(shares)], dtype=np.float64)
