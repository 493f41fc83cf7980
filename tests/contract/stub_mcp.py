"""A small MCP server (streamable HTTP) whose endpoint says how it misbehaves: `/ok_sse`, `/hang`, …"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

HANG_S = 4.0
SLOW_INITIALIZE_S = 0.6
# The revision that a mode answers with, whatever it is asked for; it refuses calls in another one.
CHOSEN_REVISIONS = {
    "newer_revision": "2025-11-25",
    "first_revision": "2025-03-26",
    "alien_revision": "1999-01-01",
}
# How long `open_stream` goes on with pings after its answer.
OPEN_S = 3.0
FORGETS_AFTER_CALLS = 3


class StubMcp(ThreadingHTTPServer):
    """The server and what it saw: requests by (mode, method), tool calls with arguments, open sessions, connections.

    `left` counts the clients that closed a stream which was still open.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.seen: Counter[tuple[str, str]] = Counter()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.served: Counter[str] = Counter()
        self.sessions: set[tuple[str, str]] = set()
        self.forgetful = True
        self.connections = 0
        self.left = 0
        self.slow = True
        self.used: set[tuple[str, object]] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count each TCP connection, then serve it."""
        self.connections += 1
        super().process_request(request, client_address)

    def takes(self, session: str, number: object) -> bool:
        """Whether a request id is new in its session; the protocol forbids a second use."""
        with self.lock:
            fresh = not session or (session, number) not in self.used
            self.used.add((session, number))
            return fresh

    @property
    def url(self) -> str:
        """The server's address without an endpoint."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def forget_once(self, mode: str) -> None:
        """Lose every session of a mode once, as a restart of the server would."""
        with self.lock:
            if self.forgetful and self.served[mode] >= FORGETS_AFTER_CALLS:
                self.forgetful = False
                self.sessions = {known for known in self.sessions if known[0] != mode}


@contextmanager
def running() -> Iterator[StubMcp]:
    """A stub server on a free port, until the block ends."""
    server = StubMcp()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def tool_payload(tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a healthy stub answers: a search finds one document, an add adds one point."""
    if tool == "add":
        return {"points_added": 1, "document_id": arguments.get("document_id")}
    return {"results": [{"document_id": "doc-1", "score": 0.5}], "query": arguments.get("query")}


def _text_result(payload: Any, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": json.dumps(payload)}], "structuredContent": payload, **more}


_RESULTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "is_error": lambda _: {"content": [{"type": "text", "text": "Qdrant is away"}], "isError": True},
    "payload_empty": lambda ok: _text_result({**ok, "results": [], "points_added": 0}),
    "payload_error": lambda _: _text_result({"error": "Failed to get status"}),
    "no_structured": lambda _: {"content": [{"type": "text", "text": "plain words"}]},
}


def _result(mode: str, ok: dict[str, Any]) -> dict[str, Any]:
    return _RESULTS[mode](ok) if mode in _RESULTS else _text_result(ok)


class _Handler(BaseHTTPRequestHandler):
    """One request; the first segment of its path is the mode."""

    server: StubMcp
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        mode, method = self.path.split("/")[1], message["method"]
        if mode.startswith("refuses_"):
            self._empty(int(mode.removeprefix("refuses_")))
            return
        if mode == "one_host" and not self.headers["Host"].startswith("127.0.0.1"):
            self._empty(421)
            return
        if mode == "redirect" and not self.path.endswith("/"):
            self._empty(307, {"Location": f"{self.path}/"})
            return
        with self.server.lock:
            self.server.seen[mode, method] += 1
        match method:
            case "initialize":
                self._initialize(mode, message["id"])
            case "notifications/initialized":
                self._empty(202)
            case _:
                self._call(mode, message)

    def do_DELETE(self) -> None:
        mode = self.path.split("/")[1]
        with self.server.lock:
            self.server.seen[mode, "DELETE"] += 1
            self.server.sessions.discard((mode, self.headers.get("Mcp-Session-Id", "")))
        self._empty(200)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is inherited)
        """Say nothing; what was asked is counted."""

    def _initialize(self, mode: str, number: int) -> None:
        if mode == "no_such_revision":
            self._send(400, b"Bad Request: Unsupported protocol version: 2025-06-18", {})
            return
        session = {} if mode == "stateless" else {"Mcp-Session-Id": uuid4().hex}
        with self.server.lock:
            self.server.sessions.update((mode, value) for value in session.values())
        if mode == "slow_initialize" and self.server.slow:
            time.sleep(SLOW_INITIALIZE_S)
        result = {
            "protocolVersion": CHOSEN_REVISIONS.get(mode, "2025-06-18"),
            "capabilities": {},
            "serverInfo": {"name": "stub", "version": "0"},
        }
        self._events([{"jsonrpc": "2.0", "id": number, "result": result}], session)

    def _call(self, mode: str, message: dict[str, Any]) -> None:
        tool, arguments = message["params"]["name"], message["params"]["arguments"]
        if mode == "session_lost":
            self.server.forget_once(mode)
        if mode == "always_404" or (mode != "stateless" and not self._knows_session(mode)):
            self._empty(404)
            return
        if (
            mode in CHOSEN_REVISIONS
            and self.headers.get("MCP-Protocol-Version", "2025-03-26") != CHOSEN_REVISIONS[mode]
        ):
            self._empty(400)
            return
        if not self.server.takes(self.headers.get("Mcp-Session-Id", ""), message["id"]):
            self._empty(409)
            return
        with self.server.lock:
            self.server.calls.append((tool, arguments))
            self.server.served[mode] += 1
        self._answer(mode, message["id"], tool_payload(tool, arguments))

    def _knows_session(self, mode: str) -> bool:
        with self.server.lock:
            return (mode, self.headers.get("Mcp-Session-Id")) in self.server.sessions

    def _answer(self, mode: str, number: int, ok: dict[str, Any]) -> None:
        answer = {"jsonrpc": "2.0", "id": number, "result": _result(mode, ok)}
        note = {
            "jsonrpc": "2.0",
            "method": "notifications/message",
            "params": {"level": "info", "data": "working"},
        }
        match mode:
            case "ok_json":
                self._json(answer)
            case "notification_first":
                self._events([note, {"jsonrpc": "2.0", "id": number + 1000, "result": {}}, answer])
            case "http_500":
                self._send(500, b"Internal Server Error", {"Content-Type": "text/plain"})
            case "jsonrpc_error":
                error = {"code": -32602, "message": "Invalid request parameters"}
                self._json({"jsonrpc": "2.0", "id": number, "error": error})
            case "wrong_id":
                self._events([{**answer, "id": number + 1}])
            case "not_json":
                self._send(200, b"<html>hello</html>", {"Content-Type": "application/json"})
            case "hang":
                time.sleep(HANG_S)
                self._json(answer)
            case "open_stream":
                self._open_stream(answer)
            case "split_data":
                lines = json.dumps(answer, indent=1).split("\n")
                body = "event: message\r\n" + "".join(f"data: {line}\r\n" for line in lines) + "\r\n"
                self._send(200, body.encode(), {"Content-Type": "text/event-stream"})
            case "asks_first":
                asked = {"jsonrpc": "2.0", "id": number, "method": "roots/list", "params": {}}
                self._events([asked, answer])
            case "closed":
                self.close_connection = True
                self.connection.close()
            case _:
                self._events([answer])

    def _open_stream(self, answer: dict[str, Any]) -> None:
        """Answer at once, and leave the stream open: pings follow."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self.wfile.write(f"event: message\r\ndata: {json.dumps(answer)}\r\n\r\n".encode())
            for _ in range(round(OPEN_S / 0.1)):
                time.sleep(0.1)
                self.wfile.write(b": ping\r\n\r\n")
                self.wfile.flush()
        except OSError:
            with self.server.lock:
                self.server.left += 1

    def _json(self, message: Any) -> None:
        self._send(200, json.dumps(message).encode(), {"Content-Type": "application/json"})

    def _events(self, messages: list[dict[str, Any]], headers: Mapping[str, str] | None = None) -> None:
        body = "".join(f"event: message\r\ndata: {json.dumps(message)}\r\n\r\n" for message in messages)
        self._send(200, body.encode(), {"Content-Type": "text/event-stream", **(headers or {})})

    def _empty(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, b"", headers or {})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # The client gave up first, as some tests want it to.
