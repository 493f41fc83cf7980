"""The embedded-engine server as a process of its own: start, wait until ready, stop, kill, start again."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from time import monotonic

import httpx

IMAGE_FOLDER = Path(__file__).resolve().parents[3] / "compose" / "images" / "qdrant-edge"
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
_POLL_S = 0.02


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EdgeProcess:
    """One server on one storage folder. A port of its own for life, so that clients outlast restarts."""

    def __init__(self, storage: Path, *, command: Sequence[str] = ("-m", "edge_server")) -> None:
        self.storage = storage
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = command
        self._log = storage.with_name(storage.name + ".log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that the server wrote so far, over all its starts."""
        return self._log.read_text() if self._log.exists() else ""

    def spawn(self) -> None:
        """Start the process and return at once."""
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--storage", str(self.storage)]
        environment = os.environ | {"PYTHONPATH": str(IMAGE_FOLDER), "PYTHONDONTWRITEBYTECODE": "1"}
        with self._log.open("ab") as log:
            command = [sys.executable, *self._command, *options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def start(self) -> None:
        """Start the process and wait until `/readyz` answers 200."""
        self.spawn()
        deadline = monotonic() + READY_TIMEOUT_S
        while not self.is_ready():
            code = self.running().poll()
            if code is not None or monotonic() > deadline:
                self.kill()
                raise RuntimeError(
                    f"server on port {self.port} not ready, exit code {code}, log:\n{self.log[-4000:]}"
                )
            Event().wait(_POLL_S)

    def is_ready(self) -> bool:
        """Whether `/readyz` answers 200 now."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2.0).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.running().send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone. Nothing happens where none runs."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def wait(self) -> int:
        """Wait for the end of the process; its exit code."""
        process = self.running()
        code = process.wait(timeout=STOP_TIMEOUT_S)
        self._process = None
        return code

    def running(self) -> "subprocess.Popen[bytes]":
        """The process; RuntimeError where none was started."""
        if self._process is None:
            raise RuntimeError("no server process: call start() first")
        return self._process
