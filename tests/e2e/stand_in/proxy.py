"""Stands in front of the real target and plants one defect, named by STAND_IN_DEFECT.

wrong_ids     every search answers fast, with document ids that do not exist
slow_recovery after the store was away, every tool call is refused for STAND_IN_SECONDS more
none          changes nothing, to show that the proxy itself does no harm
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DEFECT = os.environ.get("STAND_IN_DEFECT", "none")
SECONDS = float(os.environ.get("STAND_IN_SECONDS", "40"))
STORE = os.environ["QDRANT_URL"].rstrip("/") + "/healthz"
SERVER = os.environ["STAND_IN_SERVER"].split("\x1f")
REAL_PORT = 8001
refuse_until = 0.0


def watch_store() -> None:
    """Note when the store comes back, and refuse for SECONDS from then."""
    global refuse_until
    away = False
    while True:
        try:
            with urllib.request.urlopen(STORE, timeout=1):
                if away:
                    refuse_until = time.monotonic() + SECONDS
                away = False
        except (urllib.error.URLError, OSError):
            away = True
            refuse_until = time.monotonic() + 3600
        time.sleep(0.1)


def falsified(value: object) -> object:
    """The same answer with every document id replaced by one that does not exist."""
    if isinstance(value, dict):
        return {k: f"wrong-{v}" if k == "document_id" else falsified(v) for k, v in value.items()}
    if isinstance(value, list):
        return [falsified(item) for item in value]
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.dumps(falsified(json.loads(value)))
        except ValueError:
            return value
    return value


def answer_with_defect(body: bytes) -> bytes:
    lines = []
    for line in body.decode().split("\n"):
        if line.startswith("data:"):
            line = "data: " + json.dumps(falsified(json.loads(line[5:])))
        lines.append(line)
    return "\n".join(lines).encode()


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        question = json.loads(body) if body else {}
        calls_tool = isinstance(question, dict) and question.get("method") == "tools/call"
        if calls_tool and DEFECT == "slow_recovery" and time.monotonic() < refuse_until:
            self._refuse(question)
            return
        try:
            real = http.client.HTTPConnection("127.0.0.1", REAL_PORT, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
            real.request(self.command, self.path, body, headers)
            answer = real.getresponse()
            content = answer.read()
        except OSError:
            self._send(502, [], b"")
            return
        if calls_tool and DEFECT == "wrong_ids":
            content = answer_with_defect(content)
        kept = ("content-type", "mcp-session-id")
        self._send(answer.status, [(k, v) for k, v in answer.getheaders() if k.lower() in kept], content)

    def _refuse(self, question: dict) -> None:
        result = {"content": [{"type": "text", "text": "still warming up"}], "isError": True}
        message = {"jsonrpc": "2.0", "id": question["id"], "result": result}
        self._send(200, [("Content-Type", "application/json")], json.dumps(message).encode())

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _forward

    def log_message(self, *_: object) -> None:
        pass


def wait_for_server() -> None:
    """Listen only once the real server does: until then a refusal, as from the real one, is the right answer."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", REAL_PORT), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    real = subprocess.Popen(SERVER)
    if DEFECT == "slow_recovery":
        threading.Thread(target=watch_store, daemon=True).start()
    threading.Thread(target=lambda: os._exit(real.wait()), daemon=True).start()
    wait_for_server()
    sys.stderr.write(f"stand-in with defect {DEFECT}\n")
    Server(("0.0.0.0", 8000), Proxy).serve_forever()
