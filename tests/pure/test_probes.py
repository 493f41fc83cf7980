"""What counts as an answer, and what as a hit."""

import numpy as np

from lab.adapters.truth.neighbours import truth_queries
from lab.model.samples import Layer
from lab.model.target import Condition, Operation
from lab.ports import CallOutcome
from lab.probes.recall import TruthQuery, claims_success, count_hits

SEARCH = Operation(
    "search",
    "search",
    {},
    "structured",
    (Condition(("error",), "absent"), Condition(("results",), "min_items", 1)),
    ("results", "*", "id"),
)
QUERY = TruthQuery("q", "text", frozenset({"a", "b", "c"}))


def answer(payload: object, layer: Layer = Layer.OK) -> CallOutcome:
    return CallOutcome(layer, "", payload)


def test_an_explicit_error_is_no_answer_and_an_empty_success_is_a_wrong_one() -> None:
    assert claims_success(answer({"results": [1]}), SEARCH)
    assert claims_success(answer({"results": []}, Layer.PAYLOAD), SEARCH)
    assert not claims_success(answer({"error": "no store", "results": []}, Layer.PAYLOAD), SEARCH)
    for layer in (Layer.TRANSPORT, Layer.HTTP_STATUS, Layer.JSONRPC, Layer.IS_ERROR):
        assert not claims_success(answer(None, layer), SEARCH)


def test_hits_count_distinct_documents_among_the_first_k() -> None:
    def results(*ids: str) -> CallOutcome:
        return answer({"results": [{"id": name} for name in ids]})

    assert count_hits(results("a", "b", "c"), SEARCH, QUERY, 3) == 3
    assert count_hits(results("a", "a", "a"), SEARCH, QUERY, 3) == 1
    assert count_hits(results("x", "y", "z", "a"), SEARCH, QUERY, 3) == 0
    assert count_hits(answer({"results": "nonsense"}), SEARCH, QUERY, 3) == 0


def test_ties_with_the_last_neighbour_count() -> None:
    documents = np.array([[1, 0], [0, 1], [0.0, 0.9999], [-1, 0]], dtype=np.float32)
    (query,) = truth_queries(["q"], ["t"], np.array([[1, 1]], np.float32), ["a", "b", "c", "d"], documents, 1)
    assert query.accepted == {"a", "b", "c"}
