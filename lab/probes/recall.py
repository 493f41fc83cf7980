"""Measures recall@k through the MCP server, against the exact nearest neighbours."""

from dataclasses import dataclass

from lab.model.samples import Layer, Recall
from lab.model.target import Operation, Target, canonical, first_broken, values_at
from lab.ports import CallOutcome, Clock, Mcp


@dataclass(frozen=True, slots=True)
class TruthQuery:
    """A query, and the documents that count as hits: the exact top k, and all that tie with the k-th."""

    id: str
    text: str
    accepted: frozenset[str]


async def measure(mcp: Mcp, clock: Clock, target: Target, query: TruthQuery, k: int) -> Recall:
    """Ask one truth query and count its hits. An answer that claims success counts, an explicit error does not."""
    operation = target.operations[target.recall]
    values = {"query": query.text, "k": k, "truth_collection": target.truth_collection}
    sent_ms = clock.now_ms()
    outcome = await mcp.call(operation, values, timeout_s=target.request_timeout_ms / 1000)
    answered = claims_success(outcome, operation)
    hits = count_hits(outcome, operation, query, k) if answered else 0
    return Recall(
        sent_ms=sent_ms,
        done_ms=clock.now_ms(),
        mode=target.recall_mode,
        query_id=query.id,
        answered=answered,
        hits=hits,
        k=k,
        layer=outcome.layer,
        message=outcome.message,
    )


def unsent(clock: Clock, target: Target, query: TruthQuery, k: int, why: str) -> Recall:
    """The row of a slot in which no truth query could be sent: it is no answer, and no evidence against the target."""
    return Recall(
        sent_ms=clock.now_ms(),
        done_ms=None,
        mode=target.recall_mode,
        query_id=query.id,
        answered=False,
        hits=0,
        k=k,
        layer=Layer.UNSENT,
        message=why,
    )


def claims_success(outcome: CallOutcome, operation: Operation) -> bool:
    """True if the server answered without an explicit error.

    An `absent` condition names the place where a target reports its errors, so an error stands there if that condition
    is broken. If any other condition is broken (no results, for example), a wrong answer claims to be right.
    """
    if outcome.layer is Layer.OK:
        return True
    if outcome.layer is not Layer.PAYLOAD or outcome.payload is None:
        return False
    errors = tuple(condition for condition in operation.success if condition.test == "absent")
    return first_broken(outcome.payload, errors, {}) is None


def count_hits(outcome: CallOutcome, operation: Operation, query: TruthQuery, k: int) -> int:
    """The number of accepted documents among the first `k` distinct documents; `k6/truth.js` has the same rule."""
    found = values_at(outcome.payload, operation.document_ids)
    distinct = list(dict.fromkeys(one if isinstance(one, str) else canonical(one) for one in found))
    return min(k, sum(document in query.accepted for document in distinct[:k]))
