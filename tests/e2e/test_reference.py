"""The reference target on containers: what makes it a known-good server, shown with its store up, away, and back."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.models.containers import Container

from lab.model.samples import Layer
from lab.model.target import Condition, Operation
from lab.observe.mcp import McpSession
from lab.provision.stack import stack
from lab.read.targets import load_target
from tests.e2e.stacks import REFERENCE, ephemeral_stack, images, reference_target

pytestmark = pytest.mark.docker

ERROR_WITHIN_S, ANSWER_WITHIN_S, REQUEST_TIMEOUT_S = 5.0, 2.0, 20.0
SESSION_IDLE_S = 3.0
VALUES: Mapping[str, Any] = {
    "query": "which animals are running",
    "k": 3,
    "text": "The dogs are running in the park.",
    "document_id": "dogs",
    "truth_collection": "truth",
    "writes_collection": "truth",
}
GET = Operation(
    "get",
    "get_document_tool",
    {"document_id": {"$var": "document_id"}, "collection": {"$var": "truth_collection"}},
    "structured",
    (Condition(("chunks", 0, "payload", "content"), "equals", {"$var": "text"}),),
)
# The document is added first, for the searches must find something.
OPERATIONS = [*reversed(list(load_target(REFERENCE).operations.values())), GET]
OPERATIONS.sort(key=lambda operation: operation.name != "add")

Outcome = tuple[str, Layer, float, str]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.StackSpec]:
    """A stack with the reference target, whose idle sessions end after three seconds."""
    folder = reference_target(tmp_path_factory.mktemp("t"), REFERENCE_SESSION_IDLE_S=f"{SESSION_IDLE_S:g}")
    with ephemeral_stack(images(folder), target=folder) as running:
        yield running


def container(spec: stack.StackSpec, service: str) -> Container:
    """The container of a service."""
    (found,) = docker.from_env().containers.list(all=True, filters={"name": f"^/{spec.project}-{service}-1$"})
    return found


def calls(spec: stack.StackSpec, operations: list[Operation], *, side_by_side: bool = False) -> list[Outcome]:
    """Each operation called once: name, layer, seconds and message."""
    return asyncio.run(_calls(f"{spec.topology.address('mcp')}{spec.endpoint}", operations, side_by_side))


async def _calls(url: str, operations: list[Operation], side_by_side: bool) -> list[Outcome]:
    session = McpSession(url, "2025-06-18")

    async def call(operation: Operation) -> Outcome:
        began = time.monotonic()
        outcome = await session.call(operation, VALUES, timeout_s=REQUEST_TIMEOUT_S)
        return operation.name, outcome.layer, time.monotonic() - began, outcome.message

    try:
        await session.initialize()
        if side_by_side:
            return list(await asyncio.gather(*(call(operation) for operation in operations)))
        return [await call(operation) for operation in operations]
    finally:
        await session.close()


def wait_for_store(spec: stack.StackSpec) -> None:
    """Until the store answers, asked past the proxy."""
    deadline = time.monotonic() + 30
    while True:
        try:
            if httpx.get(f"{spec.topology.address('qdrant')}/readyz", timeout=2, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.02)


def require_right(outcomes: list[Outcome]) -> None:
    """Every call succeeded by the conditions of target.yaml."""
    assert [outcome for outcome in outcomes if outcome[1] is not Layer.OK] == []


def require_explicit_errors(outcomes: list[Outcome]) -> None:
    """Every call failed in time, with an error that the client sees as one."""
    late_or_hidden = [o for o in outcomes if o[1] is not Layer.IS_ERROR or o[2] > ERROR_WITHIN_S]
    assert late_or_hidden == []


def test_each_tool_answers_while_the_store_is_up(spec: stack.StackSpec) -> None:
    require_right(calls(spec, OPERATIONS))


def test_a_killed_store_gives_explicit_errors_and_right_answers_when_it_is_back(
    spec: stack.StackSpec,
) -> None:
    require_right(calls(spec, OPERATIONS))
    store = container(spec, "qdrant")
    store.kill()
    store.wait(timeout=20)
    require_explicit_errors(calls(spec, OPERATIONS))
    store.start()
    wait_for_store(spec)
    back = time.monotonic()
    while any(layer is not Layer.OK for _, layer, _, _ in calls(spec, OPERATIONS[:1])):
        assert time.monotonic() - back < ANSWER_WITHIN_S
    assert time.monotonic() - back < ANSWER_WITHIN_S
    require_right(calls(spec, OPERATIONS))


def test_calls_overlap_and_a_hanging_store_is_an_explicit_error(spec: stack.StackSpec) -> None:
    """Eight calls wait for a frozen store at the same time; one after the other they would take 24 s."""
    store = container(spec, "qdrant")
    store.pause()
    try:
        began = time.monotonic()
        outcomes = calls(
            spec, [operation for operation in OPERATIONS if operation.name == "list"] * 8, side_by_side=True
        )
        took = time.monotonic() - began
        # Longer than one call may wait, shorter than two in a row would.
        assert 2 < took < ERROR_WITHIN_S
        require_explicit_errors(outcomes)
    finally:
        store.unpause()
    require_right(calls(spec, OPERATIONS))


def test_a_slow_call_stalls_no_other_session(spec: stack.StackSpec) -> None:
    """While calls hang at the store, the server still opens sessions and lists its tools at once."""
    store = container(spec, "qdrant")
    store.pause()
    try:
        asyncio.run(_sessions_while_calls_hang(f"{spec.topology.address('mcp')}{spec.endpoint}"))
    finally:
        store.unpause()


async def _sessions_while_calls_hang(url: str) -> None:
    hanging = asyncio.create_task(_calls(url, [OPERATIONS[0]] * 4, True))
    await asyncio.sleep(0.5)
    for _ in range(5):
        began, session = time.monotonic(), McpSession(url, "2025-06-18")
        await session.initialize()
        await session.close()
        assert time.monotonic() - began < 1
    assert not hanging.done()
    require_explicit_errors(await hanging)


def test_a_session_ends_when_it_is_deleted_and_when_it_is_idle(spec: stack.StackSpec) -> None:
    url = f"{spec.topology.address('mcp')}{spec.endpoint}"
    with httpx.Client(timeout=10, trust_env=False) as client:
        deleted, idle = _opened(client, url), _opened(client, url)
        assert _listed(client, url, deleted) == _listed(client, url, idle) == 200
        assert client.delete(url, headers=_headers(deleted)).is_success
        assert _listed(client, url, deleted) == 404
        time.sleep(SESSION_IDLE_S + 1)
        assert _listed(client, url, idle) == 404


def _headers(session: str) -> dict[str, str]:
    accepted = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
    return accepted | ({"Mcp-Session-Id": session} if session else {})


def _opened(client: httpx.Client, url: str) -> str:
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about}
    return str(client.post(url, json=body, headers=_headers("")).headers["mcp-session-id"])


def _listed(client: httpx.Client, url: str, session: str) -> int:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    return client.post(url, json=body, headers=_headers(session)).status_code


def test_it_stops_cleanly_and_starts_while_the_store_is_away(spec: stack.StackSpec) -> None:
    server, store = container(spec, "mcp"), container(spec, "qdrant")
    server.stop(timeout=10)
    server.reload()
    assert server.attrs["State"]["ExitCode"] == 0
    store.kill()
    store.wait(timeout=20)
    server.start()
    _wait_for_server(spec)
    require_explicit_errors(calls(spec, OPERATIONS))
    store.start()
    wait_for_store(spec)
    time.sleep(ANSWER_WITHIN_S)
    require_right(calls(spec, OPERATIONS))


@pytest.mark.parametrize("defect", ["swallows_errors", "one_at_a_time"])
def test_a_planted_defect_is_told_from_the_correct_server(tmp_path: Path, defect: str) -> None:
    """The negative control of what is asked above: each defect breaks just its own promise."""
    folder = reference_target(tmp_path, REFERENCE_DEFECT=defect)
    with ephemeral_stack(images(folder), target=folder) as spec:
        require_right(calls(spec, OPERATIONS))
        store = container(spec, "qdrant")
        store.pause()
        outcomes = calls(spec, OPERATIONS[-2:], side_by_side=True)
        store.unpause()
    layers, slowest_s = {layer for _, layer, _, _ in outcomes}, max(seconds for _, _, seconds, _ in outcomes)
    assert layers == {Layer.PAYLOAD if defect == "swallows_errors" else Layer.IS_ERROR}
    assert (slowest_s > ERROR_WITHIN_S) == (defect == "one_at_a_time")


def _wait_for_server(spec: stack.StackSpec) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"{spec.topology.address('mcp')}{spec.endpoint}", timeout=2, trust_env=False)
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
