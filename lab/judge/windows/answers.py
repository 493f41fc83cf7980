"""The answers to truth queries, as the accuracy check and its table look at them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lab.judge.stats.intervals import Floats
from lab.judge.windows.window import Window, within, without
from lab.model.evidence import Evidence
from lab.model.samples import Recall


def asked_in(evidence: Evidence, spans: Sequence[Window]) -> list[Recall]:
    """The truth queries that were sent within any of these windows."""
    return within(evidence.samples.recall, spans)


def answered(rows: Iterable[Recall]) -> list[Recall]:
    """Those that the target answered with a claim of success, right or wrong."""
    return [row for row in rows if row.answered]


def by_query(rows: Iterable[Recall]) -> Floats:
    """Mean recall per query, float64[queries] in order of their ids: the query is the unit, not the row."""
    shares: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        shares[row.query_id].append(row.hits / row.k)
    return np.array([float(np.mean(shares[query])) for query in sorted(shares)], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Pool:
    """What one subject is judged on: tight windows, and wider ones for where those hold too few answers."""

    subject: str
    tight: tuple[Window, ...]
    wide: tuple[Window, ...]

    def without(self, holes: Sequence[tuple[float, float]]) -> "Pool":
        """The pool without some stretches of time, each given by its begin and end in ms."""
        return Pool(self.subject, without(self.tight, holes), without(self.wide, holes))

    def answers(self, evidence: Evidence, queries_min: int) -> list[Recall]:
        """The answers of the tight windows, or of the wide ones where the tight ones hold too few queries."""
        rows = answered(asked_in(evidence, self.tight))
        return rows if by_query(rows).size >= queries_min else answered(asked_in(evidence, self.wide))
