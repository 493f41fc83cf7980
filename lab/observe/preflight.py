"""One call of each operation before a run, from the place from which the observer will ask."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from lab.model.samples import Layer
from lab.model.target import Target
from lab.observe.mcp import HEADERS, McpSession, initialize_message

HANDSHAKE = "handshake"
OBSERVER = "the observer"
BODY_CHARS_MAX = 200
TRIES = 2
NO_TIME_LEFT = "no time was left for it"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one call from one place: of the first message of a session (`handshake`), or of an operation.

    `address` is what was asked. `status` and `location` are those of the handshake's answer.
    """

    place: str
    address: str
    what: str
    layer: str
    message: str
    status: int = 0
    location: str = ""

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.layer == Layer.OK.value


@dataclass(frozen=True, slots=True)
class Call:
    """One call to make: an operation by its name, and the values of its variables."""

    op: str
    values: Mapping[str, Any]


def attempts(
    url: str, target: Target, calls: Sequence[Call], timeout_s: float, total_s: float
) -> list[Attempt]:
    """The handshake and each call, made one after the other; a call that fails is made once more.

    Each may take `timeout_s`, and all of them together `total_s`. A call for which no time is left is `unsent`.
    """
    return asyncio.run(_attempts(url, target, calls, timeout_s, time.monotonic() + total_s))


async def _attempts(
    url: str, target: Target, calls: Sequence[Call], timeout_s: float, give_up_s: float
) -> list[Attempt]:
    first = await _handshake(url, target, timeout_s)
    if not first.ok:
        return [first]
    session = McpSession(url, target.protocol_version)
    try:
        return [first, *[await _tried(session, url, target, call, timeout_s, give_up_s) for call in calls]]
    finally:
        await session.close()


async def _handshake(url: str, target: Target, timeout_s: float) -> Attempt:
    """The first message of a session, without following a redirect; the session is ended at once."""
    async with httpx.AsyncClient(trust_env=False, timeout=timeout_s) as http:
        try:
            answer = await http.post(url, json=initialize_message(target.protocol_version), headers=HEADERS)
            if answer.is_success and (session := answer.headers.get("mcp-session-id")):
                await http.delete(url, headers={**HEADERS, "Mcp-Session-Id": session})
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {error}"
            return Attempt(OBSERVER, url, HANDSHAKE, Layer.TRANSPORT.value, reason)
    layer = Layer.OK if answer.is_success else Layer.HTTP_STATUS
    message = "" if answer.is_success else f"HTTP {answer.status_code}: {answer.text[:BODY_CHARS_MAX]}"
    location = answer.headers.get("location", "")
    return Attempt(OBSERVER, url, HANDSHAKE, layer.value, message, answer.status_code, location)


async def _tried(
    session: McpSession, url: str, target: Target, call: Call, timeout_s: float, give_up_s: float
) -> Attempt:
    """One call, made again if it fails and there is time; what was cut off by the whole time counts as not made."""
    made = Attempt(OBSERVER, url, call.op, Layer.UNSENT.value, NO_TIME_LEFT)
    for _ in range(TRIES):
        left_s = give_up_s - time.monotonic()
        if made.ok or left_s <= 0:
            break
        outcome = await session.call(
            target.operations[call.op], call.values, timeout_s=min(timeout_s, left_s)
        )
        if outcome.layer is not Layer.TRANSPORT or left_s >= timeout_s:
            made = Attempt(OBSERVER, url, call.op, outcome.layer.value, outcome.message)
    return made
