"""The canary: a truth query through both links, which shows when the target answers, in time and rightly."""

from dataclasses import dataclass

from lab.model.samples import WRONG, Layer, Probe
from lab.model.target import Target
from lab.ports import Clock, Mcp
from lab.probes.recall import TruthQuery, claims_success, count_hits


@dataclass(frozen=True, slots=True)
class Query:
    """A truth query, the number of documents to ask for, and the share of exact ones that a right answer contains."""

    truth: TruthQuery
    k: int
    accuracy: float


async def measure(mcp: Mcp, clock: Clock, target: Target, query: Query, deadline_s: float) -> Probe:
    """Send one canary probe; its `outcome` is `ok`, `wrong` or the layer at which it failed.

    Hits are counted if the operation declares where an answer has its documents. Otherwise an answer is `ok` or failed.
    """
    operation = target.operations[target.canary]
    values = {"query": query.truth.text, "k": query.k}
    values |= {"truth_collection": target.truth_collection, "writes_collection": target.writes_collection}
    sent_ms = clock.now_ms()
    outcome = await mcp.call(operation, values, timeout_s=deadline_s)
    done_ms = clock.now_ms()
    if not operation.document_ids or not claims_success(outcome, operation):
        return Probe(sent_ms, done_ms, target.canary, outcome.layer.value, outcome.message)
    hits = count_hits(outcome, operation, query.truth, query.k)
    right = outcome.layer is Layer.OK and hits / query.k >= query.accuracy
    outcome_word = Layer.OK.value if right else WRONG
    return Probe(sent_ms, done_ms, target.canary, outcome_word, outcome.message, hits, query.k)


def unsent(clock: Clock, target: Target, why: str) -> Probe:
    """The row of a slot in which no probe could be sent: it is no good probe, and no evidence against the target."""
    return Probe(clock.now_ms(), None, target.canary, Layer.UNSENT.value, why)
