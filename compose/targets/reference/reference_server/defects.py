"""Planted defects for the lab's own tests: `REFERENCE_DEFECT=NAME` or `NAME:NUMBER` switches one of them on.

Without it the server is as its other modules say. Each defect stands around the tool calls; no other module knows it.
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
    """What happens in place of a call."""

    async def __call__(self, call: Call, tool: str, arguments: Arguments) -> Any:
        """Answer for `call`, which the client made with `arguments`."""


def planted(switch: str, store_url: str) -> Callable[[Call], Call]:
    """What turns a correct call into one with the defect; the call itself where `switch` is empty."""
    if not switch:
        return lambda call: call
    name, _, number = switch.partition(":")
    if name not in DEFECTS:
        raise SystemExit(
            f"REFERENCE_DEFECT={switch}: there is no such defect; known are {', '.join(DEFECTS)}"
        )
    make, usual = DEFECTS[name]
    defect = make(float(number or usual), store_url)

    def around(call: Call) -> Call:
        @functools.wraps(call)
        async def answered(**arguments: Any) -> Any:
            return await defect(call, call.__name__, arguments)

        return answered

    return around


def wrong_ids(_: float, __: str) -> Defect:
    """Every search answers fast, with ids of documents that do not exist."""

    async def defect(call: Call, tool: str, arguments: Arguments) -> Any:
        answer = await call(**arguments)
        if tool == "search_workspace_tool":
            for result in answer["results"]:
                result["payload"]["document_id"] = f"wrong-{result['payload']['document_id']}"
        return answer

    return defect


def slow_recovery(seconds: float, store_url: str) -> Defect:
    """After the store was away, every call is refused for so many seconds more."""
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
    """Of the documents for the collection `writes`, each so many-th is acknowledged and thrown away."""
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
    """Each call leaves so many KiB that are never released."""
    kept: list[bytes] = []

    async def defect(call: Call, tool: str, arguments: Arguments) -> Any:
        # Not zeros: the kernel gives out pages of zeros only when they are written to.
        kept.append(b"\x01" * round(kib_per_call * 1024))
        return await call(**arguments)

    return defect


def swallows_errors(_: float, __: str) -> Defect:
    """Whatever goes wrong, the client is told of a success with nothing in it."""

    async def defect(call: Call, tool: str, arguments: Arguments) -> Any:
        try:
            return await call(**arguments)
        except Exception:  # noqa: BLE001 - this is the defect
            return EMPTY[tool]

    return defect


def one_at_a_time(milliseconds: float, _: str) -> Defect:
    """A call waits until all earlier ones are answered, given up or not, and lasts at least so long."""
    turn = asyncio.Lock()

    async def defect(call: Call, tool: str, arguments: Arguments) -> Any:
        async with turn:
            least = asyncio.create_task(asyncio.sleep(milliseconds / 1000))
            try:
                return await call(**arguments)
            finally:
                await least

    return defect


DEFECTS: dict[str, tuple[Callable[[float, str], Defect], float]] = {
    "wrong_ids": (wrong_ids, 0),
    "slow_recovery": (slow_recovery, 40),
    "drops_writes": (drops_writes, 10),
    "leaks": (leaks, 64),
    "swallows_errors": (swallows_errors, 0),
    "one_at_a_time": (one_at_a_time, 0),
}
"""Each defect, and its usual number."""
