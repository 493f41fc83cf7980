"""An MCP client over streamable HTTP (revision 2025-06-18) that says at which layer a call failed.

The official SDK hides status codes, headers and session ids, which are just what has to be told apart here. The rules
are those of `k6/mcp.js`; `tests/contract` lays both side by side.
"""

import asyncio
import itertools
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx

from lab import __version__
from lab.model.samples import Layer
from lab.model.target import MESSAGE_CHARS_MAX, Operation, canonical, fill, first_broken
from lab.ports import CallOutcome

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


class _Failed(Exception):
    """A call that ended at `layer`; never leaves this module."""

    def __init__(self, layer: Layer, message: str) -> None:
        super().__init__(message)
        self.layer = layer
        self.message = message[:MESSAGE_CHARS_MAX]


class _SessionLost(Exception):
    """The server no longer knows the session; the client must initialize anew."""


class McpSession:
    """One session, shared by concurrent calls; implements `lab.ports.Mcp`. Use it inside one event loop."""

    def __init__(self, url: str, protocol_version: str) -> None:
        self._url = url
        self._version = protocol_version
        self._http = httpx.AsyncClient(
            trust_env=False, follow_redirects=True, limits=httpx.Limits(max_connections=20)
        )
        self._session: str | None = None
        self._initialized = False
        self._ids = itertools.count(1)

    async def call(self, operation: Operation, values: Mapping[str, Any], *, timeout_s: float) -> CallOutcome:
        """Call a tool within `timeout_s` (which includes a lost session's re-initialization); never raises."""
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
        broken = first_broken(payload, operation.success, values)
        return CallOutcome(Layer.PAYLOAD if broken else Layer.OK, broken or "", payload, lost)

    async def initialize(self) -> None:
        """Open a session if none is open; raises what `call` would classify."""
        # No lock: a call that hangs while it initializes must not hold up the next one. The first to finish wins.
        if not self._initialized:
            await self._initialize()

    async def close(self) -> None:
        """End the session as the protocol asks, without minding whether the server still answers."""
        if self._session is not None:
            # The server may be gone by design; its session died with it.
            with suppress(httpx.HTTPError):
                await self._http.delete(self._url, headers=self._session_headers(), timeout=2.0)
        await self._http.aclose()

    async def _initialize(self) -> None:
        params = {
            "protocolVersion": self._version,
            "capabilities": {},
            "clientInfo": {"name": "chaos-soak-lab", "version": __version__},
        }
        body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        answer = await self._http.post(self._url, json=body, headers=_HEADERS, timeout=None)
        _result(_message(answer, 0))
        session = answer.headers.get("mcp-session-id")
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await self._http.post(self._url, json=note, headers=self._headers(session), timeout=None)
        if not self._initialized:
            self._session, self._initialized = session, True

    def _session_headers(self) -> dict[str, str]:
        return self._headers(self._session)

    def _headers(self, session: str | None) -> dict[str, str]:
        headers = {**_HEADERS, "MCP-Protocol-Version": self._version}
        return headers | ({"Mcp-Session-Id": session} if session else {})

    async def _tool(self, operation: Operation, values: Mapping[str, Any]) -> Any:
        await self.initialize()
        number, session = next(self._ids), self._session
        params = {"name": operation.tool, "arguments": fill(operation.arguments, values)}
        body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        answer = await self._http.post(self._url, json=body, headers=self._session_headers(), timeout=None)
        if session is not None and _forgotten(answer):
            if self._session == session:
                self._initialized = False
            raise _SessionLost(answer.status_code)
        result = _result(_message(answer, number))
        if result.get("isError"):
            raise _Failed(Layer.IS_ERROR, _text(result) or "isError without a text")
        return payload_of(result, operation.payload)


def _forgotten(answer: httpx.Response) -> bool:
    """Whether the server no longer knows the session: 404 by the protocol, 400 with a word about it by mcp 1.14."""
    if answer.status_code == httpx.codes.NOT_FOUND:
        return True
    return answer.status_code == httpx.codes.BAD_REQUEST and "session" in answer.text.lower()


def _message(answer: httpx.Response, number: int) -> Mapping[str, Any]:
    """The JSON-RPC message with this id in an SSE or JSON body; notifications may come before it."""
    if not answer.is_success:
        raise _Failed(Layer.HTTP_STATUS, f"HTTP {answer.status_code}")
    texts = [answer.text]
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        texts = _event_data(answer.text)
    for text in texts:
        try:
            message = json.loads(text)
        except ValueError:
            continue
        if isinstance(message, dict) and message.get("id") == number:
            return message
    raise _Failed(Layer.JSONRPC, "no message with the request's id in the answer")


def _event_data(body: str) -> list[str]:
    """The data of each server-sent event, its lines joined; `splitlines` would also split at U+2028 inside JSON."""
    events = re.split(r"(?:\r\n|\n|\r){2}", body)
    lines = [
        [line[5:] for line in re.split(r"\r\n|\n|\r", event) if line.startswith("data:")] for event in events
    ]
    return ["\n".join(data) for data in lines if data]


def _result(message: Mapping[str, Any]) -> Mapping[str, Any]:
    error = message.get("error")
    if error is not None:
        said = error.get("message") if isinstance(error, dict) else None
        raise _Failed(Layer.JSONRPC, str(said or canonical(error)))
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
