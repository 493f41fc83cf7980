"""An MCP client over streamable HTTP (revisions 2025-03-26 to 2025-11-25) that says at which layer a call failed.

The official SDK hides status codes, headers and session ids, and these are what the lab must tell apart. `k6/mcp.js`
follows the same rules; `tests/contract` runs both clients on the same table of cases.
"""

import asyncio
import itertools
import json
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

import httpx
from httpx_sse import EventSource

from lab import __version__
from lab.boundary import attempt_async
from lab.model.samples import Layer
from lab.model.target import MESSAGE_CHARS_MAX, Operation, canonical, fill, first_broken
from lab.observe.plain_transport import PlainTransport
from lab.ports import CallOutcome

HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
# Revisions with a session and an `initialize`; a server may choose another one of them than it was asked for.
REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25")
# The first revision has no header that names it.
_WITHOUT_VERSION_HEADER = "2025-03-26"
# A call waits this long for an initialization that another call has begun, then it begins one itself: a server that
# answers nothing must not hold up the calls that come after it has recovered.
JOIN_S = 0.1
# After the answer a stream has this long to end by itself, so that its connection can be used again.
LINGER_S = 0.25
# How long an unneeded session's end may take.
DELETE_TIMEOUT_S = 2.0


class _Failed(Exception):
    """A call that ended at `layer`; never leaves this module."""

    def __init__(self, layer: Layer, message: str) -> None:
        super().__init__(message)
        self.layer = layer
        self.message = message[:MESSAGE_CHARS_MAX]


class _SessionLost(Exception):
    """The server no longer knows the session; the client must initialize anew."""


def initialize_message(protocol_version: str) -> dict[str, Any]:
    """The first message of a session."""
    params = {
        "protocolVersion": protocol_version,
        "capabilities": {},
        "clientInfo": {"name": "chaos-soak-lab", "version": __version__},
    }
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}


class McpSession:
    """One session, shared by concurrent calls; implements `lab.ports.Mcp`. Use it inside one event loop.

    `protocol_version` is what the client asks for; from then on it speaks the revision that the server has chosen.
    """

    def __init__(self, url: str, protocol_version: str) -> None:
        self._url = url
        self._asked_version = self._version = protocol_version
        self._http = httpx.AsyncClient(transport=PlainTransport(), trust_env=False, follow_redirects=True)
        self._session: str | None = None
        self._initialized = False
        self._opening: asyncio.Event | None = None
        self._ids = itertools.count(1)
        self._background: set[asyncio.Task[object]] = set()
        # Sessions that are no longer used. They are ended when the server answers again: while it hangs, a request to
        # end one would only wait in it as well.
        self._unneeded: list[str] = []

    async def call(self, operation: Operation, values: Mapping[str, Any], *, timeout_s: float) -> CallOutcome:
        """Call a tool within `timeout_s`, which includes the initialization after a lost session.

        Returns as soon as the answer is there, and not when its stream ends. What the target does never raises.
        """
        lost = 0
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    payload = await self._tool(operation, values)
                except _SessionLost:
                    lost = 1
                    payload = await self._tool(operation, values)
        except _SessionLost as again:
            return CallOutcome(Layer.HTTP_STATUS, f"HTTP {again}", None, 2)
        except _Failed as failed:
            return CallOutcome(failed.layer, failed.message, None, lost)
        except TimeoutError:
            return CallOutcome(Layer.TRANSPORT, f"no answer within {timeout_s:g} s", None, lost)
        except httpx.HTTPError as error:
            return CallOutcome(
                Layer.TRANSPORT, f"{type(error).__name__}: {error}"[:MESSAGE_CHARS_MAX], None, lost
            )
        self._end_unneeded()
        broken = first_broken(payload, operation.success, values)
        return CallOutcome(Layer.PAYLOAD if broken else Layer.OK, broken or "", payload, lost)

    async def initialize(self) -> None:
        """Open a session if none is open; raises what `call` would classify.

        Calls that find no session at the same time share one initialization. One that takes long is not waited for:
        the next call begins another, the first to finish wins, and the session of any other is ended.
        """
        if not self._initialized and self._opening is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._opening.wait(), JOIN_S)
        if not self._initialized:
            await self._initialize()

    async def settle(self) -> None:
        """Wait until nothing of the calls that have returned is left in the server: neither a stream nor a request."""
        if self._background:
            await asyncio.wait(self._background, timeout=DELETE_TIMEOUT_S)

    async def close(self) -> None:
        """End the session as the protocol asks, without minding whether the server still answers."""
        self._end_unneeded()
        await self.settle()
        if self._session is not None:
            await self._end_session(self._session)
        for task in self._background:
            task.cancel()
        await self._http.aclose()

    async def _initialize(self) -> None:
        ended = self._opening = asyncio.Event()
        session: str | None = None
        try:
            session, version = await self._open()
            note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            accepted = await self._send(note, self._headers(session, version))
            await accepted.aread()
            if not self._initialized:
                self._session, self._version, self._initialized = session, version, True
        finally:
            if session is not None and session != self._session:
                self._unneeded.append(session)
            ended.set()
            if self._opening is ended:
                self._opening = None

    async def _open(self) -> tuple[str | None, str]:
        """A new session's id, if the server has sessions, and the revision that the server has chosen."""
        answer = await self._send(initialize_message(self._asked_version), HEADERS)
        result = _result(await self._message(answer, 0))
        version = result.get("protocolVersion", self._asked_version)
        if version not in REVISIONS and version != self._asked_version:
            raise _Failed(Layer.JSONRPC, f"the server speaks revision {version!r}, and this client does not")
        return answer.headers.get("mcp-session-id"), version

    def _end_unneeded(self) -> None:
        unneeded, self._unneeded = self._unneeded, []
        for session in unneeded:
            self._later(self._end_session(session))

    async def _end_session(self, session: str) -> None:
        # A fault may have stopped the server; then its session is gone too.
        await attempt_async(
            self._http.delete(
                self._url, headers=self._headers(session, self._version), timeout=DELETE_TIMEOUT_S
            )
        )

    def _headers(self, session: str | None, version: str) -> dict[str, str]:
        named = {} if version == _WITHOUT_VERSION_HEADER else {"MCP-Protocol-Version": version}
        return {**HEADERS, **named} | ({"Mcp-Session-Id": session} if session else {})

    async def _tool(self, operation: Operation, values: Mapping[str, Any]) -> Any:
        await self.initialize()
        number, session = next(self._ids), self._session
        params = {"name": operation.tool, "arguments": fill(operation.arguments, values)}
        body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        answer = await self._send(body, self._headers(session, self._version))
        if session is not None and await _forgotten(answer):
            if self._session == session:
                self._initialized, self._session = False, None
                self._unneeded.append(session)
            raise _SessionLost(answer.status_code)
        result = _result(await self._message(answer, number))
        if result.get("isError"):
            raise _Failed(Layer.IS_ERROR, _text(result) or "isError without a text")
        return payload_of(result, operation.payload)

    async def _send(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> httpx.Response:
        """The answer's head; its body is still to be read."""
        request = self._http.build_request("POST", self._url, json=body, headers=headers, timeout=None)
        return await self._http.send(request, stream=True)

    async def _message(self, answer: httpx.Response, number: int) -> Mapping[str, Any]:
        """The message that answers the request with this id, as soon as it has arrived."""
        streamed = answer.headers.get("content-type", "").startswith("text/event-stream")
        found = None
        try:
            if not answer.is_success:
                raise _Failed(Layer.HTTP_STATUS, f"HTTP {answer.status_code}")
            if streamed:
                found = await self._streamed(answer, number)
            else:
                await answer.aread()
                found = _answering(answer.text, number)
        finally:
            if found is None:
                await answer.aclose()
        if found is None:
            raise _Failed(Layer.JSONRPC, "no message with the request's id in the answer")
        return found

    async def _streamed(self, answer: httpx.Response, number: int) -> Mapping[str, Any] | None:
        events = EventSource(answer).aiter_sse()
        async for event in events:
            if (found := _answering(event.data, number)) is not None:
                self._later(_finish(events, answer))
                return found
        return None

    def _later(self, work: Coroutine[Any, Any, object]) -> None:
        """Do something that no call waits for."""
        task = asyncio.get_running_loop().create_task(attempt_async(work))
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _finish(events: Any, answer: httpx.Response) -> None:
    """Let a stream end by itself for a moment, then close it: some servers leave it open and go on to send pings."""
    try:
        async with asyncio.timeout(LINGER_S):
            async for _ in events:
                pass
    finally:
        await events.aclose()
        await answer.aclose()


async def _forgotten(answer: httpx.Response) -> bool:
    """Whether the server no longer knows the session: 404 by the protocol, 400 with a word about it by mcp 1.14."""
    if answer.status_code not in (httpx.codes.NOT_FOUND, httpx.codes.BAD_REQUEST):
        return False
    await answer.aread()
    return answer.status_code == httpx.codes.NOT_FOUND or "session" in answer.text.lower()


def _answering(text: str, number: int) -> Mapping[str, Any] | None:
    """The JSON-RPC message in a text, if it answers the request with this id.

    Notifications may come before the answer, and so may requests of the server's own, which count their ids for
    themselves: only a message with a result or an error, and without a method, is an answer.
    """
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("id") != number or "method" in message:
        return None
    return message if "result" in message or "error" in message else None


def _result(message: Mapping[str, Any]) -> Mapping[str, Any]:
    error = message.get("error")
    if error is not None:
        message_text = error.get("message") if isinstance(error, dict) else None
        raise _Failed(Layer.JSONRPC, str(message_text or canonical(error)))
    result = message.get("result")
    if not isinstance(result, dict):
        raise _Failed(Layer.JSONRPC, "neither result nor error in the answer")
    return result


def _text(result: Mapping[str, Any]) -> str:
    content = result.get("content")
    items = content if isinstance(content, list) else []
    return "\n".join(str(item.get("text", "")) for item in items if isinstance(item, dict))


def payload_of(result: Mapping[str, Any], kind: str) -> Any:
    """What a tool answered, by the operation's payload kind; raises for one that is not there."""
    if kind == "structured":
        if "structuredContent" not in result:
            raise _Failed(Layer.PAYLOAD, "no structuredContent in the result")
        return result["structuredContent"]
    text = _text(result)
    if kind == "text":
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise _Failed(Layer.PAYLOAD, "the result's text is not JSON") from None
