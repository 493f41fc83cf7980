"""Planted defects for the lab's own tests: `REFERENCE_DEFECT=NAME` or `NAME:NUMBER` switches one of them on.

A defect wraps the tool calls, so that no other module contains any part of it. Without the variable nothing is wrapped.
"""

import asyncio
import functools
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

Call = Callable[..., Awaitable[Any]]
Arguments = dict[str, Any]
WRITES = "writes"
POLL_S = 0.1
EMPTY: dict[str, Any] = {
    "search_workspace_tool": {"results": []},
    "get_document_tool": {"chunks": []},
    "add_document_tool": {"points_added": 0},
    "list_workspace_collections": [],
    "workspace_status": {"connected": True, "collections": {}},
}


class Defect(Protocol):
    """One defect, called in place of each call of a tool."""

    async def __call__(self, call: Call, tool: str, arguments: Arguments) -> Any:
        """What the client gets in place of the answer of `call(**arguments)`."""


def planted(switch: str, store_url: str) -> Callable[[Call], Call]:
    """A function that adds the defect to a call; where `switch` is empty, it returns the call unchanged."""
    if not switch:
        return lambda call: call
    name, _, number = switch.partition(":")
    if name not in DEFECTS:
        raise SystemExit(
            f"REFERENCE_DEFECT={switch}: there is no such defect; known are {', '.join(DEFECTS)}"
        )
    make, default = DEFECTS[name]
    defect = make(float(number or default), store_url)

    def around(call: Call) -> Call:
        @functools.wraps(call)
        async def answered(**arguments: Any) -> Any:
            return await defect(call, call.__name__, arguments)

        return answered

    return around


def wrong_ids(_: float, __: str) -> Defect:
    """Every search answers at once, with ids of documents that do not exist."""

    async def defect(call: Call, tool: str, arguments: Arguments) -> Any:
        answer = await call(**arguments)
        if tool == "search_workspace_tool":
            for result in answer["results"]:
                result["payload"]["document_id"] = f"wrong-{result['payload']['document_id']}"
        return answer

    return defect


def slow_recovery(seconds: float, store_url: str) -> Defect:
    """Refuses every call while the store is away, and for `seconds` after it is back."""
    store = _StoreWatch(f"{store_url}/healthz")

    async def defect(call: Call, tool: str, arguments: Arguments) -> Any:
        if store.away or time.monotonic() < store.back_at + seconds:
            raise RuntimeError("the server is still warming up")
        return await call(**arguments)

    return defect


class _StoreWatch:
    """Asks the store ten times a second whether it is there, in a thread of its own."""

    def __init__(self, url: str) -> None:
        self.away = False
        # Long ago: a server that starts beside a healthy store has nothing to recover from.
        self.back_at = float("-inf")
        self._url = url
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            try:
                urllib.request.urlopen(self._url, timeout=1).close()
                if self.away:
                    self.back_at, self.away = time.monotonic(), False
            except OSError:
                self.away = True
            time.sleep(POLL_S)


def drops_writes(every: float, _: str) -> Defect:
    """Acknowledges every Nth document for the collection `writes` without storing it; N is `every`."""
    count = 0

    async def defect(call: Call, tool: str, arguments: Arguments) -> Any:
        nonlocal count
        if tool == "add_document_tool" and arguments["collection"] == WRITES:
            count += 1
            if count % every == 0:
                return {
                    "document_id": arguments["document_id"],
                    "collection": WRITES,
                    "points_added": 1,
                }
        return await call(**arguments)

    return defect


def leaks(kib_per_call: float, _: str) -> Defect:
    """Each call keeps `kib_per_call` KiB that are never released."""
    kept: list[bytes] = []

    async def defect(call: Call, tool: str, arguments: Arguments) -> Any:
        # Bytes other than zero, for the kernel gives no memory to a page of zeros until it is written to.
        kept.append(b"\x01" * round(kib_per_call * 1024))
        return await call(**arguments)

    return defect


def swallows_errors(_: float, __: str) -> Defect:
    """Turns every error into a success with nothing in it."""

    async def defect(call: Call, tool: str, arguments: Arguments) -> Any:
        try:
            return await call(**arguments)
        except Exception:  # noqa: BLE001 - this is the defect
            return EMPTY[tool]

    return defect


def one_at_a_time(milliseconds: float, _: str) -> Defect:
    """A call starts after all earlier ones have ended, also those whose clients gave up; it lasts `milliseconds`."""
    turn = asyncio.Lock()

    async def defect(call: Call, tool: str, arguments: Arguments) -> Any:
        async with turn:
            pause = asyncio.create_task(asyncio.sleep(milliseconds / 1000))
            try:
                return await call(**arguments)
            finally:
                await pause

    return defect


DEFECTS: dict[str, tuple[Callable[[float, str], Defect], float]] = {
    "wrong_ids": (wrong_ids, 0),
    "slow_recovery": (slow_recovery, 40),
    "drops_writes": (drops_writes, 10),
    "leaks": (leaks, 64),
    "swallows_errors": (swallows_errors, 0),
    "one_at_a_time": (one_at_a_time, 0),
}
"""By name: what makes the defect, and the number that it has by default."""
