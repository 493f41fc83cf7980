"""What counts as an answer, what as a hit, what as a right canary, and what as an idle store."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest

from lab.model.samples import Layer, Probe
from lab.model.target import Condition, Operation
from lab.ports import CallOutcome
from lab.probes import canary, store_idle
from lab.probes.recall import TruthQuery, claims_success, count_hits
from lab.truth.neighbours import truth_queries
from tests.pure.evidence_factory import target as factory_target

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


@dataclass
class Ticking:
    """A clock that moves by 5 ms each time it is asked."""

    at_ms: float = 0.0

    def now_ms(self) -> float:
        self.at_ms += 5.0
        return self.at_ms


@dataclass
class Answering:
    """An MCP server that always answers the same; keeps what it was asked."""

    outcome: CallOutcome
    asked: list[Any] = field(default_factory=list)

    async def call(self, operation: Operation, values: Any, *, timeout_s: float) -> CallOutcome:
        self.asked.append((values, timeout_s))
        return self.outcome


def probed(outcome: CallOutcome, *, counts_hits: bool = True) -> Probe:
    target = factory_target(counts_hits=counts_hits)
    query = canary.Query(TruthQuery("q", "text", frozenset(f"d{n}" for n in range(10))), 10, 0.9)
    server = Answering(outcome)
    found = asyncio.run(canary.measure(server, Ticking(), target, query, 0.5))  # type: ignore[arg-type]
    assert server.asked == [({**server.asked[0][0], "query": "text", "k": 10}, 0.5)]
    return found


@pytest.mark.parametrize(("right", "outcome"), [(10, "ok"), (9, "ok"), (8, "wrong"), (0, "wrong")])
def test_a_canary_is_right_only_with_the_right_documents(right: int, outcome: str) -> None:
    ids = [f"d{n}" if n < right else f"x{n}" for n in range(10)]
    found = probed(answer({"results": [{"id": one} for one in ids]}))
    assert (found.outcome, found.hits, found.k) == (outcome, right, 10)
    assert found.done_ms == found.sent_ms + 5
    blind = probed(answer({"results": [{"id": one} for one in ids]}), counts_hits=False)
    assert (blind.outcome, blind.hits, blind.k) == ("ok", None, None)


def test_a_canary_that_got_an_error_is_not_wrong_but_failed() -> None:
    assert probed(answer(None, Layer.TRANSPORT)).outcome == "transport"
    assert probed(answer({"error": "no store"}, Layer.PAYLOAD)).outcome == "payload"
    assert probed(answer({"results": []}, Layer.PAYLOAD)).outcome == "wrong"


GREEN = {"status": "green", "optimizer_status": "ok"}


def looked(collections: dict[str, Any], state: Callable[[str], httpx.Response] | None = None) -> Probe:
    """One look at a store with these collections; `state` answers in place of the usual."""

    def respond(request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/collections").strip("/")
        if state is not None:
            return state(name)
        found = collections[name] if name else {"collections": [{"name": one} for one in collections]}
        return httpx.Response(200, json={"result": found, "status": "ok", "time": 0.0})

    async def look() -> Probe:
        async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
            return await store_idle.measure(http, Ticking(), "http://store/")  # type: ignore[arg-type]

    return asyncio.run(look())


@pytest.mark.parametrize(
    ("change", "outcome", "detail"),
    [
        ({}, "ok", ""),
        ({"update_queue": {"length": 0}}, "ok", ""),
        ({"status": "yellow"}, "busy", "writes: status yellow"),
        ({"status": "grey"}, "busy", "writes: status grey"),
        ({"optimizer_status": {"error": "full"}}, "busy", "writes: optimizer {'error': 'full'}"),
        ({"update_queue": {"length": 3}}, "busy", "writes: 3 updates waiting"),
    ],
)
def test_a_store_is_idle_when_no_collection_has_work(change: Any, outcome: str, detail: str) -> None:
    found = looked({"truth": GREEN, "writes": {**GREEN, **change}})
    assert (found.probe, found.outcome, found.detail) == ("store_idle", outcome, detail)
    assert found.done_ms is not None
    assert found.done_ms > found.sent_ms


def test_a_store_that_says_nothing_of_its_work_is_not_idle() -> None:
    assert looked({}).outcome == "busy"
    assert looked({"truth": {"status": "green"}}).outcome == "payload"
    assert looked({"truth": GREEN}, lambda _: httpx.Response(200, text="hello")).outcome == "payload"
    assert looked({"truth": GREEN}, lambda _: httpx.Response(503)).detail == "HTTP 503"

    def refuse(name: str) -> httpx.Response:
        raise httpx.ConnectError("refused")

    assert looked({"truth": GREEN}, refuse).outcome == "transport"


def test_a_store_that_hangs_is_given_up_within_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_idle, "DEADLINE_S", 0.05)

    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def look() -> Probe:
        async with httpx.AsyncClient(transport=httpx.MockTransport(hang)) as http:
            return await store_idle.measure(http, Ticking(), "http://store")  # type: ignore[arg-type]

    found = asyncio.run(look())
    assert (found.outcome, found.detail) == ("transport", "no answer within 0.05 s")


def test_the_deadline_of_a_look_leaves_room_for_the_next() -> None:
    assert 1 / store_idle.HZ > store_idle.DEADLINE_S
