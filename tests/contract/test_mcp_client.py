"""The observer's MCP client against servers that speak the protocol in their own way: dialects, and lost sessions."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from lab.model.samples import Layer
from lab.model.target import Condition, Operation
from lab.observe.mcp import McpSession
from lab.ports import CallOutcome
from tests.contract import stub_mcp

SEARCH = Operation(
    "search",
    "search",
    {"query": {"$var": "query"}},
    "structured",
    (Condition(("error",), "absent"), Condition(("results",), "min_items", 1)),
)
T = TypeVar("T")


@pytest.fixture
def stub() -> Iterator[stub_mcp.StubMcp]:
    with stub_mcp.running() as server:
        yield server


async def search(session: McpSession, timeout_s: float = 2.0) -> CallOutcome:
    return await session.call(SEARCH, {"query": "anything"}, timeout_s=timeout_s)


def with_session(
    stub: stub_mcp.StubMcp, mode: str, work: Callable[[McpSession], Awaitable[T]], asked: str = "2025-06-18"
) -> T:
    async def run() -> T:
        session = McpSession(f"{stub.url}/{mode}/mcp", asked)
        try:
            return await work(session)
        finally:
            await session.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    "mode", ["ok_sse", "ok_json", "split_data", "asks_first", "notification_first", "newer_revision"]
)
def test_each_dialect_is_understood(stub: stub_mcp.StubMcp, mode: str) -> None:
    outcome = with_session(stub, mode, search)
    assert (outcome.layer, outcome.message) == (Layer.OK, "")


def test_an_answer_counts_when_it_arrives_though_the_stream_stays_open(stub: stub_mcp.StubMcp) -> None:
    async def timed(session: McpSession) -> tuple[CallOutcome, float]:
        await session.initialize()
        began = time.monotonic()
        outcome = await search(session)
        took_s = time.monotonic() - began
        # The stream is closed soon afterwards, without anybody waiting for it.
        await asyncio.sleep(1.0)
        return outcome, took_s

    outcome, took_s = with_session(stub, "open_stream", timed)
    assert outcome.layer is Layer.OK
    assert took_s < stub_mcp.OPEN_S / 3, "it waited for the end of the stream"
    assert stub.left == 1, "the client left the stream open"


def test_a_stream_that_ends_by_itself_leaves_its_connection_for_the_next_call(stub: stub_mcp.StubMcp) -> None:
    async def often(session: McpSession) -> None:
        for _ in range(10):
            assert (await search(session)).layer is Layer.OK
            await asyncio.sleep(0.05)

    with_session(stub, "ok_sse", often)
    # Two, for the first call follows its initialization before that stream's end was read.
    assert stub.connections <= 2, f"{stub.connections} connections for 10 calls that follow each other"


def test_the_first_revision_is_spoken_without_its_header(stub: stub_mcp.StubMcp) -> None:
    assert with_session(stub, "first_revision", search, asked="2025-03-26").layer is Layer.OK


def test_a_revision_that_this_client_does_not_speak_is_named(stub: stub_mcp.StubMcp) -> None:
    outcome = with_session(stub, "alien_revision", search)
    assert outcome.layer is Layer.JSONRPC and "1999-01-01" in outcome.message


def lose_all(stub: stub_mcp.StubMcp) -> None:
    with stub.lock:
        stub.sessions.clear()


def open_sessions(stub: stub_mcp.StubMcp) -> int:
    with stub.lock:
        return len(stub.sessions)


def test_calls_that_find_the_session_lost_at_once_make_one_new_session(stub: stub_mcp.StubMcp) -> None:
    async def lost_by_many(session: McpSession) -> list[CallOutcome]:
        assert (await search(session)).layer is Layer.OK
        lose_all(stub)
        outcomes = await asyncio.gather(*(search(session) for _ in range(8)))
        assert open_sessions(stub) == 1
        return outcomes

    outcomes = with_session(stub, "ok_sse", lost_by_many)
    assert {outcome.layer for outcome in outcomes} == {Layer.OK}
    assert stub.seen["ok_sse", "initialize"] == 2, "one at first, and one after the loss"
    assert open_sessions(stub) == 0, "the last one is ended with the client"


def test_sessions_that_a_slow_server_made_too_many_are_ended(stub: stub_mcp.StubMcp) -> None:
    """Where an initialization takes long the next call begins its own; all but the first to finish are ended."""

    async def impatient(session: McpSession) -> None:
        async def later(seconds: float) -> CallOutcome:
            await asyncio.sleep(seconds)
            return await search(session, 5.0)

        outcomes = await asyncio.gather(*(later(0.15 * number) for number in range(4)))
        assert {outcome.layer for outcome in outcomes} == {Layer.OK}
        give_up = time.monotonic() + 5
        while open_sessions(stub) > 1 and time.monotonic() < give_up:
            await asyncio.sleep(0.05)
        assert open_sessions(stub) == 1

    with_session(stub, "slow_initialize", impatient)
    assert stub.seen["slow_initialize", "initialize"] > 1, "otherwise this shows nothing"
    assert open_sessions(stub) == 0


def test_an_initialization_that_hangs_holds_up_no_later_call(stub: stub_mcp.StubMcp) -> None:
    async def run(session: McpSession) -> tuple[CallOutcome, float]:
        slow = asyncio.create_task(search(session, 5.0))
        await asyncio.sleep(0.05)
        with_quick_server(stub)
        began = time.monotonic()
        outcome = await search(session, 5.0)
        took_s = time.monotonic() - began
        await slow
        return outcome, took_s

    outcome, took_s = with_session(stub, "slow_initialize", run)
    assert outcome.layer is Layer.OK and took_s < stub_mcp.SLOW_INITIALIZE_S - 0.1


def with_quick_server(stub: stub_mcp.StubMcp) -> None:
    """From now on `slow_initialize` is quick, as a server is that has recovered."""
    stub.slow = False
