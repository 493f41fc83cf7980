"""The answers to truth queries, for the accuracy check and the accuracy table."""

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
    """The queries for which the target claimed success, whether the answer was right or wrong."""
    return [row for row in rows if row.answered]


def by_query(rows: Iterable[Recall]) -> Floats:
    """Mean recall of each query, float64[queries], sorted by query id. Several answers to one query count once."""
    shares: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        shares[row.query_id].append(row.hits / row.k)
    return np.array([float(np.mean(shares[query])) for query in sorted(shares)], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Pool:
    """The windows of one subject. The wide ones are used where the tight ones have too few answers."""

    subject: str
    tight: tuple[Window, ...]
    wide: tuple[Window, ...]

    def without(self, holes: Sequence[tuple[float, float]]) -> "Pool":
        """The same pool without these times, each given by its begin and end in ms."""
        return Pool(self.subject, without(self.tight, holes), without(self.wide, holes))

    def answers(self, evidence: Evidence, queries_min: int) -> list[Recall]:
        """The answers in the tight windows, or in the wide ones if the tight ones have too few queries."""
        rows = answered(asked_in(evidence, self.tight))
        return rows if by_query(rows).size >= queries_min else answered(asked_in(evidence, self.wide))
