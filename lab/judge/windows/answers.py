"""The answers to truth queries, for the accuracy check and the accuracy table.

The lab asks truth queries, and so does the load where its mix holds the operation of the truth queries.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from lab.judge.stats.intervals import Floats
from lab.judge.windows.known_issues import UNSETTLED
from lab.judge.windows.window import Window, apart, without
from lab.model.evidence import Evidence
from lab.model.plan import BY_LOAD
from lab.model.samples import Layer, Recall
from lab.model.scenario import BoundSpec

RECALL_MIN = BoundSpec(
    "accuracy", ">", "recall@10", 0.90, "mean recall, steady and per kind of fault", above=0, below=1
)


def asked_in(evidence: Evidence, spans: Sequence[Window]) -> list[Recall]:
    """The truth queries that were sent within any of these windows, in order of time."""
    return [
        query for window in apart(spans) for query in asked_between(evidence, window.from_ms, window.to_ms)
    ]


def asked_between(evidence: Evidence, from_ms: float, to_ms: float) -> Sequence[Recall]:
    """The truth queries that were sent from one time up to another: the lab's own, and the load's if it is a witness.

    One that could not be sent is none.
    """
    own = evidence.samples.recall.between(from_ms, to_ms)
    if BY_LOAD not in evidence.plan.observer.witnesses:
        return own
    asked = [query for query in own if query.layer not in UNSETTLED]
    return sorted([*asked, *_of_the_load(evidence, from_ms, to_ms)], key=_ORDER)


def tables(evidence: Evidence) -> tuple[str, ...]:
    """The tables that hold truth queries."""
    return ("recall", "requests") if BY_LOAD in evidence.plan.observer.witnesses else ("recall",)


_ORDER = attrgetter("sent_ms", "query_id", "answered", "hits", "message")
_FIELDS = ("scheduled_ms", "sent_ms", "done_ms", "query_id", "hits", "k", "layer", "message")


def _of_the_load(evidence: Evidence, from_ms: float, to_ms: float) -> Iterator[Recall]:
    """The load's searches of the truth; each counts as sent when it was due, as every request of the load."""
    target, k_usual = evidence.plan.target, evidence.plan.observer.recall_k
    rows = evidence.samples.requests.fields(_FIELDS, from_ms, to_ms, op=target.recall)
    for due_ms, sent_ms, done_ms, query_id, hits, k, layer, message in rows:
        counted = hits is not None and k
        if sent_ms is None or layer in UNSETTLED or (layer is Layer.OK and not counted):
            continue
        yield Recall(
            sent_ms=due_ms,
            done_ms=done_ms,
            mode=target.recall_mode,
            query_id=query_id or "",
            answered=bool(counted),
            hits=hits if counted else 0,
            k=k if counted else k_usual,
            layer=layer,
            message=message,
        )


def answered(rows: Iterable[Recall]) -> list[Recall]:
    """The queries for which the target claimed success, whether the answer was right or wrong."""
    return [row for row in rows if row.answered]


def by_query(rows: Iterable[Recall]) -> Floats:
    """Mean recall of each query, float64[queries], sorted by query id. Several answers to one query count once."""
    shares: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        shares[row.query_id].append(row.hits / row.k)
    return np.array([float(np.mean(shares[query])) for query in sorted(shares)])


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
