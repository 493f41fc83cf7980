"""The observer's looks at the store are quicker while it matters and never a canary; its own stalls blame nobody."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lab.judge.stats.observations import ProbeResults, within_slo
from lab.model.samples import Probe
from lab.observe.calibration_server import running
from lab.observe.clock import RunClock
from lab.observe.observer import TargetObserver
from lab.observe.stalls import Stalls, unless_stalled
from lab.observe.time_watch import STALL_MIN_MS
from lab.probes.recall import TruthQuery
from lab.run.calibration.at_once import PLAN, reference_target


class Store(ThreadingHTTPServer):
    """A store with one collection in this state."""

    daemon_threads = True
    status = "green"
    takes_s = 0.0
    answering = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Store)
        self.server.answering = True
        time.sleep(self.server.takes_s)
        self.server.answering = False
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

    def canary(self) -> list[Probe]:
        return [row for row in self.rows if isinstance(row, Probe) and row.probe != "store_idle"]

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


def observer_of(
    url: str,
    clock: RunClock,
    sink: Kept,
    store_url: str | None = None,
    on_memory: Callable[[], None] = lambda: None,
) -> TargetObserver:
    return TargetObserver(
        url=url,
        target=reference_target(),
        plan=PLAN,
        queries=[TruthQuery("q", "a query", frozenset(f"d{n}" for n in range(10)))],
        clock=clock,
        sink=sink,
        on_memory=on_memory,
        store_url=store_url,
    )


@contextmanager
def observed(store_url: str | None, clock: RunClock, sink: Kept) -> Iterator[TargetObserver]:
    with running() as reference:
        observer = observer_of(reference.url, clock, sink, store_url)
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
        canary = sink.canary()
    assert len(busy) >= 2 and {probe.outcome for probe in busy} == {"busy"}
    assert {probe.outcome for probe in sink.looks()} == {"ok", "busy"}
    assert canary and all(probe.probe == reference_target().canary for probe in canary)


def test_without_a_store_address_nobody_looks_and_the_canary_goes_on() -> None:
    clock, sink = RunClock(), Kept()
    with observed(None, clock, sink):
        give_up = time.monotonic() + 10
        while len(sink.canary()) < 3 and time.monotonic() < give_up:
            time.sleep(0.05)
        assert sink.canary()
    assert sink.looks() == []


def test_a_dead_store_is_told_and_kills_nothing() -> None:
    clock, sink = RunClock(), Kept()
    with observed("http://127.0.0.1:9", clock, sink):
        give_up = time.monotonic() + 10
        while not sink.looks() and time.monotonic() < give_up:
            time.sleep(0.05)
    assert sink.looks() and {probe.outcome for probe in sink.looks()} == {"transport"}


@pytest.mark.parametrize(
    ("outcome", "took_ms", "stalled_ms", "expected"),
    [
        ("ok", 150, 0, "ok"),
        ("ok", 150, 149, "ok"),
        ("ok", 250, 0, "ok"),
        ("ok", 250, 49, "ok"),
        ("ok", 250, 50, "stalled"),
        ("transport", 460, 0, "transport"),
        ("transport", 600, 140, "transport"),
        ("transport", 677, 576, "stalled"),
        ("transport", 3, 3, "transport"),
        ("transport", 459, 400, "transport"),
        ("wrong", 677, 600, "wrong"),
        ("is_error", 677, 600, "is_error"),
    ],
)
def test_only_what_is_late_by_the_labs_own_stall_is_no_evidence(
    outcome: str, took_ms: float, stalled_ms: float, expected: str
) -> None:
    probe = Probe(1000.0, 1000.0 + took_ms, "search", outcome, "why")
    found = unless_stalled(probe, stalled_ms, deadline_s=0.46, slo_ms=200.0)
    assert found.outcome == expected
    assert (found == probe) == (expected != "stalled")
    (observation,) = within_slo(ProbeResults.of([found]), 1e9)
    assert observation.asked == (expected != "stalled")
    assert observation.good == (expected == "ok")


@pytest.mark.parametrize("slo_ms", [400.0, 450.0, 460.0, 500.0, 5000.0])
def test_a_deadline_waited_in_vain_takes_more_than_a_hiccup_of_the_lab_to_excuse(slo_ms: float) -> None:
    hung = Probe(1000.0, 1461.0, "search", "transport", "timed out")
    assert unless_stalled(hung, 0.0, deadline_s=0.46, slo_ms=slo_ms) is hung
    assert unless_stalled(hung, 30.0, deadline_s=0.46, slo_ms=slo_ms) is hung
    assert unless_stalled(hung, 200.0, deadline_s=0.46, slo_ms=slo_ms).outcome == "stalled"


def test_a_slot_that_was_not_sent_stays_unsent() -> None:
    probe = Probe(1000.0, None, "search", "unsent", "5 probes were outstanding")
    assert unless_stalled(probe, 0.0, deadline_s=0.46, slo_ms=200.0) is probe


def test_a_loop_that_stands_still_is_seen_and_one_that_waits_is_not() -> None:
    clock = RunClock()
    stalls = Stalls(clock)

    async def scene() -> tuple[float, float, float, float]:
        with stalls.measuring():
            await asyncio.sleep(0.3)
            waited_to_ms = clock.now_ms()
            time.sleep(0.4)
            blocked_to_ms = clock.now_ms()
            # Before the loop turns again, as a probe that ends first thing after the stall would ask.
            at_once = stalls.within_ms(waited_to_ms, blocked_to_ms)
            await asyncio.sleep(0.1)
        later = stalls.within_ms(waited_to_ms, blocked_to_ms)
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) == 1, "where nothing is measured, nothing wakes"
        return waited_to_ms, blocked_to_ms, at_once, later

    waited_to_ms, blocked_to_ms, at_once, later = asyncio.run(scene())
    assert blocked_to_ms - waited_to_ms - 25 < at_once <= blocked_to_ms - waited_to_ms
    assert later == pytest.approx(at_once)
    assert stalls.within_ms(blocked_to_ms + 1000, blocked_to_ms + 2000) == 0.0


def test_each_beat_of_the_loop_is_reported_and_a_stall_as_soon_as_it_has_ended() -> None:
    clock = RunClock()
    late_ms: list[float] = []
    stalls = Stalls(clock, lambda due_ms, woke_ms: late_ms.append(woke_ms - due_ms))

    async def scene() -> None:
        stopped = asyncio.get_running_loop().create_future()
        watching = asyncio.create_task(stalls.watch(stopped))
        await asyncio.sleep(0.5)
        time.sleep(1.2)
        await asyncio.sleep(0.05)
        assert max(late_ms) > STALL_MIN_MS
        stopped.set_result(True)
        await watching

    asyncio.run(scene())
    assert len(late_ms) > 3 and min(late_ms) < 100.0


class Blocking(Kept):
    """A sink that once stops the observer's loop for longer than any deadline, in the middle of a look."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store, self.blocked = store, False

    def add(self, rows: Iterable[object]) -> None:
        super().add(rows)
        if self.store.answering and not self.blocked:
            self.blocked = True
            time.sleep(0.8)


def test_a_stall_of_the_lab_is_told_as_one_and_blames_neither_store_nor_target(store: Store) -> None:
    store.takes_s = 0.15
    clock, sink = RunClock(), Blocking(store)
    with observed(store.url, clock, sink) as observer:
        observer.watch_closely(True)
        time.sleep(2.0)
        canary = sink.canary()
    assert sink.blocked
    outcomes = {probe.outcome for probe in [*canary, *sink.looks()]}
    assert outcomes <= {"ok", "stalled"}
    assert "stalled" in {probe.outcome for probe in sink.looks()}


class Bug(Exception):
    """Of no class that anybody foresaw."""


def raising(*arguments: object) -> None:
    raise Bug("planted")


def test_a_sampler_that_breaks_is_reported_and_the_others_go_on(store: Store) -> None:
    clock, sink = RunClock(), Kept()
    observer = observer_of(store.url, clock, sink, store.url, raising)
    observer.start()
    give_up = time.monotonic() + 10
    while not (observer.died() and sink.looks()) and time.monotonic() < give_up:
        time.sleep(0.05)
    observer.stop()
    ((sampler, why),) = observer.died()
    assert sampler == "memory" and why.startswith("Bug at ") and why.endswith(": planted")
    assert sink.looks() and sink.canary()


def test_a_probe_that_the_lab_could_not_make_is_no_evidence(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*arguments: object) -> None:
        raise Bug("planted")

    monkeypatch.setattr("lab.probes.canary.measure", broken)
    monkeypatch.setattr("lab.probes.recall.measure", broken)
    clock, sink = RunClock(), Kept()
    observer = observer_of(store.url, clock, sink)
    observer.start()
    give_up = time.monotonic() + 10
    while len(observer.died()) < 2 and time.monotonic() < give_up:
        time.sleep(0.05)
    observer.stop()
    assert {probe.outcome for probe in sink.canary()} == {"unsent"}
    assert {sampler for sampler, _ in observer.died()} == {"probe"}
    assert any("truth query" in why for _, why in observer.died())
