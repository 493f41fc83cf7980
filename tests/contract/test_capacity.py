"""Measuring the capacity of servers that are known: one call at a time, side by side, failing, silent, refusing."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from lab.errors import WorldError
from lab.model.capacity import ONE_AT_A_TIME_MAX, Capacity
from lab.model.target import Condition, Operation, Target
from lab.observe import capacity
from lab.observe.capacity import FULL, SHORT, Questions, Rounds, measure
from tests.contract.run_fakes import target as usual_target

# What one call of each operation takes, in seconds.
TAKES_S = {"search": 0.12, "list": 0.04, "add": 0.06}
MIX_TAKES_S = 0.5 * 0.12 + 0.3 * 0.04 + 0.2 * 0.06


class KnownServer:
    """An MCP server over HTTP whose calls take known times; `at_once` is how many it works on side by side.

    Calls of the tools in `hangs` are never answered; `status` is the HTTP status of every answer to a call.
    """

    def __init__(self, at_once: int, *, hangs: tuple[str, ...] = (), status: int = 200) -> None:
        self.hangs, self.status, self._at_once = hangs, status, at_once
        self.calls: Counter[str] = Counter()
        self.ids: list[str] = []
        self.busy_s = 0.0
        self.url = ""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def serve(self, ready: threading.Event, end: threading.Event) -> None:
        """Serve on a free port of this machine until told to end."""
        self._turns = asyncio.Semaphore(self._at_once)
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        ready.set()
        await asyncio.to_thread(end.wait)
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.05)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = (
                    int(head.split("content-length:")[1].split("\r\n")[0]) if "content-length" in head else 0
                )
                body = await reader.readexactly(length)
                status, answer = await self._answer(json.loads(body) if body else {})
                text = json.dumps(answer).encode()
                top = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
                writer.write(top.encode() + b"Mcp-Session-Id: s\r\n\r\n" + text)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        result: dict[str, Any] = {"protocolVersion": "2025-06-18", "capabilities": {}}
        status = 200
        if asked.get("method") == "tools/call":
            tool, arguments = asked["params"]["name"], asked["params"]["arguments"]
            self.calls[tool] += 1
            self.ids += [arguments["document_id"]] if "document_id" in arguments else []
            if tool in self.hangs:
                await asyncio.sleep(60)
            if self.status == 200:
                async with self._turns:
                    await asyncio.sleep(TAKES_S[tool])
                    self.busy_s += TAKES_S[tool]
            failed = {"error": "a declared defect"} if tool == "list" else {}
            result, status = {"content": [], "structuredContent": {"ok": True, **failed}}, self.status
        return status, {"jsonrpc": "2.0", "id": asked.get("id"), "result": result}


@contextmanager
def running(server: KnownServer) -> Iterator[KnownServer]:
    """Run the server in a thread of its own until the block ends."""
    ready, end = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(ready, end)), daemon=True)
    thread.start()
    assert ready.wait(5)
    try:
        yield server
    finally:
        end.set()
        thread.join(timeout=5)


def target(**more: Any) -> Target:
    """A target of three operations; `list` always fails at its payload."""
    success = (Condition(("error",), "absent"),)
    adds = {"document_id": {"$var": "document_id"}, "text": {"$var": "text"}}
    operations = {
        "search": Operation("search", "search", {"query": {"$var": "query"}}, "structured", success),
        "list": Operation("list", "list", {}, "structured", success),
        "add": Operation("add", "add", adds, "structured", success),
    }
    mix = {"search": 50, "list": 30, "add": 20}
    usual = replace(usual_target(), operations=operations, mix=mix, canary="list", recall="search", add="add")
    return replace(usual, **more)


# Known servers need no long measurement.
ROUNDS = replace(FULL, mix_s=1.5)
QUESTIONS = Questions(queries=["open a file", "read a line"], texts=["one text", "another"], k=10)


def measured(server: KnownServer, asked: Target | None = None, rounds: Rounds = ROUNDS) -> Capacity:
    return measure(server.url, asked or target(), QUESTIONS, lambda: 1e6 * server.busy_s, rounds)


@pytest.mark.parametrize(("rounds", "says"), [(SHORT, True), (ROUNDS, False)])
def test_a_short_measurement_calls_each_operation_and_says_that_it_was_short(
    rounds: Rounds, says: bool
) -> None:
    with running(KnownServer(at_once=1)) as server:
        found = measured(server, rounds=rounds)
    assert found.short is says
    assert ("short measurement" in found.in_words(4.0, {})) is says
    assert set(found.operations) == set(TAKES_S) == set(server.calls)
    # One caller makes three calls at least, and then several callers.
    assert min(cost.calls for cost in found.operations.values()) >= 5
    for name, takes_s in TAKES_S.items():
        # A machine that is busy with other tests adds to what the server takes.
        assert 0.4 / takes_s < found.operations[name].calls_per_s <= 1.05 / takes_s
    assert 0.4 / MIX_TAKES_S < found.mix_per_s <= 1.1 / MIX_TAKES_S


def test_a_short_measurement_asks_less_than_a_full_one() -> None:
    asked = {}
    for rounds in (SHORT, FULL):
        with running(KnownServer(at_once=1)) as server:
            measured(server, rounds=rounds)
            asked[rounds.short] = server.calls.total()
    assert asked[True] < asked[False] / 2


def test_a_server_that_answers_one_call_at_a_time_is_recognised() -> None:
    with running(KnownServer(at_once=1)) as server:
        found = measured(server)
    assert found.side_by_side < ONE_AT_A_TIME_MAX
    for name, takes_s in TAKES_S.items():
        # A machine that is busy with other tests adds to what the server takes.
        assert 0.4 / takes_s < found.operations[name].calls_per_s <= 1.05 / takes_s
        assert found.operations[name].latency_ms >= 1000 * takes_s
        assert found.operations[name].cpu_ms == pytest.approx(1000 * takes_s, rel=0.01)
    assert 0.4 / MIX_TAKES_S < found.mix_per_s <= 1.1 / MIX_TAKES_S
    assert found.took_s < 12
    assert 0 < found.noise_ms < 1000


def test_a_server_that_answers_side_by_side_has_room_for_more() -> None:
    with running(KnownServer(at_once=100)) as server:
        found = measured(server)
    assert found.side_by_side > 2
    assert found.operations["search"].calls_per_s > 1.8 / TAKES_S["search"]
    assert found.mix_per_s > 1.8 / MIX_TAKES_S


def test_calls_that_fail_at_their_payload_still_cost() -> None:
    with running(KnownServer(at_once=1)) as server:
        cost = measured(server).operations["list"]
    assert cost.calls >= 5 and cost.calls_per_s > 8


def test_documents_that_it_writes_are_distinct_and_no_load_writes_them() -> None:
    with running(KnownServer(at_once=1)) as server:
        measured(server)
        first = set(server.ids)
        assert len(first) == len(server.ids) >= 5
        measured(server)
    assert len(set(server.ids)) == len(server.ids)
    assert all(name.startswith("capacity-") for name in server.ids)


def test_an_operation_without_an_answer_takes_the_target_for_its_whole_time_limit() -> None:
    with running(KnownServer(at_once=100, hangs=("add",))) as server:
        found = measured(server, target(request_timeout_ms=2000))
    assert (found.operations["add"].calls_per_s, found.operations["add"].calls) == (0.5, 0)
    # A fifth of the mix takes 2 s each.
    assert found.mix_per_s < 1 / (0.2 * 2)
    assert found.operations["search"].calls >= 3


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (KnownServer(1, hangs=("search", "list", "add")), "no answer within 0.3 s"),
        (KnownServer(1, status=401), "HTTP 401"),
    ],
)
def test_a_target_that_answers_nothing_is_refused_with_what_it_said(server: KnownServer, told: str) -> None:
    with running(server), pytest.raises(WorldError, match="answered none of 3 calls") as caught:
        measured(server, target(request_timeout_ms=300))
    assert told in caught.value.last_state and caught.value.where == server.url and caught.value.try_


def test_an_unreachable_target_is_refused() -> None:
    with pytest.raises(WorldError, match="answered none"):
        measure("http://127.0.0.1:9/mcp", target(), QUESTIONS, lambda: 0.0)


def test_a_target_that_is_too_slow_ends_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "TOOK_MAX_S", 0.5)
    with running(KnownServer(at_once=1)) as server, pytest.raises(WorldError, match="answers too slowly"):
        measured(server)
