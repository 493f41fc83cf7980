"""A stand-in for the store: PUT and DELETE /collections/NAME make and remove a file, GET /collections lists
them.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STORAGE = Path("/qdrant/storage")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._answer(sorted(path.name for path in STORAGE.iterdir() if path.is_file()))

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        (STORAGE / Path(self.path).name).write_text("here", encoding="utf-8")
        self._answer({"status": "ok"})

    def do_DELETE(self) -> None:
        (STORAGE / Path(self.path).name).unlink(missing_ok=True)
        self._answer({"status": "ok"})


ThreadingHTTPServer(("0.0.0.0", 6333), Handler).serve_forever()
