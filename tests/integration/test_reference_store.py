"""The reference target's way to its store, against a real store that dies and a small one that misbehaves."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [
    str(HERE / "conformance"),
    str(HERE.parents[1] / "compose" / "targets" / "reference"),
]

from edge_process import EdgeProcess  # noqa: E402 - found on the path just set
from reference_server import defects, store  # type: ignore[import-not-found] # noqa: E402

RESULT = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"result": 42}'
CUT_OFF = RESULT[:-5]


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[EdgeProcess]:
    """A real store of the test's own."""
    server = EdgeProcess(tmp_path / "storage")
    server.start()
    yield server
    server.kill()


@asynccontextmanager
async def scripted(*script: bytes | None) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that answers request after request as the script says: bytes, b"" for hanging up, None for silence.

    Also a list with the number of the connection on which each request came.
    """
    answers, came, connections = iter(script), list[int](), iter(range(100))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(connections)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                came.append(number)
                reply = next(answers)
                if reply is None:
                    await reader.read()
                writer.write(reply or b"")
                if reply in (None, b"", CUT_OFF):
                    return
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", came
    finally:
        server.close()


def talk(url: str, *calls: Callable[[Any], Awaitable[Any]]) -> list[Any]:
    """What each call to the store gave, or the error that it raised."""
    return asyncio.run(_talk(url, *calls))


async def _talk(url: str, *calls: Callable[[Any], Awaitable[Any]]) -> list[Any]:
    client, given = store.Store(url), []
    for call in calls:
        try:
            given.append(await call(client))
        except store.StoreError as error:
            given.append(error)
    await client.close()
    return given


async def names(client: Any) -> list[str]:
    """The store's collections."""
    return [found["name"] for found in (await client.call("GET", "/collections"))["collections"]]


async def ask(client: Any) -> Any:
    """Any call."""
    return await client.call("GET", "/")


def test_a_store_that_dies_gives_errors_at_once_and_answers_when_it_is_back(edge: EdgeProcess) -> None:
    async def kill(_: Any) -> None:
        edge.kill()

    async def begin(_: Any) -> None:
        edge.start()

    began = time.monotonic()
    before, _, away, again, _, after = talk(edge.url, names, kill, names, names, begin, names)
    assert (before, after) == ([], [])
    assert all(isinstance(error, store.StoreError) for error in (away, again))
    assert "the store did not answer" in str(away)
    assert time.monotonic() - began < 10


def test_an_error_of_the_store_is_told_in_its_own_words(edge: EdgeProcess) -> None:
    async def absent(client: Any) -> Any:
        return await client.call("GET", "/collections/absent")

    (error,) = talk(edge.url, absent)
    assert "HTTP 404" in str(error) and "absent" in str(error)


def test_a_kept_connection_that_broke_is_replaced_within_the_call() -> None:
    async def scene() -> None:
        async with scripted(RESULT, b"", RESULT, RESULT) as (url, came):
            assert await _talk(url, ask, ask, ask) == [42, 42, 42]
            assert came == [0, 0, 1, 1]

    asyncio.run(scene())


def test_a_call_is_sent_twice_at_most() -> None:
    async def scene() -> None:
        async with scripted(b"", b"", RESULT) as (url, came):
            error, answer = await _talk(url, ask, ask)
            assert isinstance(error, store.StoreError) and answer == 42
            assert len(came) == 3

    asyncio.run(scene())


def test_silence_ends_in_time_is_not_asked_again_and_costs_only_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "TIMEOUT", httpx.Timeout(0.3))

    async def scene() -> None:
        async with scripted(None, RESULT) as (url, came):
            began = time.monotonic()
            error, answer = await _talk(url, ask, ask)
            assert isinstance(error, store.StoreError) and "ReadTimeout" in str(error)
            assert answer == 42 and came == [0, 1]
            assert 0.3 <= time.monotonic() - began < 2

    asyncio.run(scene())


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"resul', b'{"status": "ok"}'], ids=["nothing", "a list", "cut", "no result"]
)
def test_a_success_without_a_result_is_an_error(body: bytes) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    async def scene() -> None:
        async with scripted(reply) as (url, _):
            (error,) = await _talk(url, ask)
            assert isinstance(error, store.StoreError) and "no result" in str(error)

    asyncio.run(scene())


def test_an_answer_that_is_cut_off_is_asked_for_again_and_then_an_error() -> None:
    async def scene() -> None:
        async with scripted(CUT_OFF, RESULT, CUT_OFF, CUT_OFF) as (url, _):
            answer, error = await _talk(url, ask, ask)
            assert answer == 42 and isinstance(error, store.StoreError)

    asyncio.run(scene())


def test_slow_recovery_refuses_for_its_seconds_after_the_store_is_back(edge: EdgeProcess) -> None:
    async def tool() -> str:
        return "answered"

    call = defects.planted("slow_recovery:1", edge.url)(tool)

    def refused() -> bool:
        try:
            return asyncio.run(call()) != "answered"
        except RuntimeError:
            return True

    def seconds_until(wanted: bool) -> float:
        began = time.monotonic()
        while refused() != wanted:
            assert time.monotonic() - began < 10
            time.sleep(0.02)
        return time.monotonic() - began

    assert not refused(), "a healthy store has nothing to recover from"
    edge.kill()
    seconds_until(True)
    edge.spawn()
    while not edge.is_ready():
        assert refused(), "the store is not back"
    assert seconds_until(False) > 0.5, "the store is back, the server is not"
