"""The observer's looks at the store: quicker while a fault is watched or the store is busy, and never a canary."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lab.adapters.calibration_server import running
from lab.adapters.clock import RunClock
from lab.adapters.observer import TargetObserver
from lab.calibrate import PLAN, TARGET
from lab.model.samples import Probe
from lab.probes.recall import TruthQuery
from lab.targets import load_target


class Store(ThreadingHTTPServer):
    """A store with one collection in this state."""

    daemon_threads = True
    status = "green"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Store)
        state = {"status": self.server.status, "optimizer_status": "ok"}
        result = {"collections": [{"name": "c"}]} if self.path == "/collections" else state
        body = json.dumps({"result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Kept:
    """A sink in memory."""

    def __init__(self) -> None:
        self.rows: list[object] = []

    def add(self, rows: Iterable[object]) -> None:
        self.rows += rows

    def looks(self, since_ms: float = 0.0) -> list[Probe]:
        probes = [row for row in self.rows if isinstance(row, Probe)]
        return [probe for probe in probes if probe.probe == "store_idle" and probe.sent_ms >= since_ms]


@pytest.fixture
def store() -> Iterator[Store]:
    server = Store(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@contextmanager
def observed(store_url: str | None, clock: RunClock, sink: Kept) -> Iterator[TargetObserver]:
    with running() as reference:
        observer = TargetObserver(
            url=reference.url,
            target=load_target(TARGET),
            plan=PLAN,
            queries=[TruthQuery("q", "a query", frozenset(f"d{n}" for n in range(10)))],
            clock=clock,
            sink=sink,
            on_memory=lambda: None,
            store_url=store_url,
        )
        observer.start()
        try:
            yield observer
        finally:
            observer.stop()
    assert observer.died() == []


def test_looks_are_rare_until_the_store_is_watched_or_busy_and_are_no_canary(store: Store) -> None:
    clock, sink = RunClock(), Kept()
    with observed(store.url, clock, sink) as observer:
        time.sleep(1.3)
        assert len(sink.looks()) == 1, "idle and not watched: one look in two seconds"
        observer.watch_closely(True)
        watched_ms = clock.now_ms()
        time.sleep(1.1)
        assert len(sink.looks(watched_ms)) >= 2
        store.status = "yellow"
        time.sleep(0.6)
        observer.watch_closely(False)
        busy_ms = clock.now_ms()
        time.sleep(1.1)
        busy = sink.looks(busy_ms)
        canary = observer.recent_probes(0.0)
    assert len(busy) >= 2 and {probe.outcome for probe in busy} == {"busy"}
    assert {probe.outcome for probe in sink.looks()} == {"ok", "busy"}
    assert canary and all(probe.probe == load_target(TARGET).canary for probe in canary)


def test_without_a_store_address_nobody_looks_and_the_canary_goes_on() -> None:
    clock, sink = RunClock(), Kept()
    with observed(None, clock, sink) as observer:
        time.sleep(0.3)
        assert observer.recent_probes(0.0)
    assert sink.looks() == []


def test_a_dead_store_is_told_and_kills_nothing() -> None:
    clock, sink = RunClock(), Kept()
    with observed("http://127.0.0.1:9", clock, sink):
        time.sleep(0.3)
    assert sink.looks() and {probe.outcome for probe in sink.looks()} == {"transport"}
