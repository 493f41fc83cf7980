"""The watchdog ends its own process's run within a second of a condition that trips, and never without one."""

import math
import shutil
import signal
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from lab.model.quantities import GB
from lab.model.samples import Layer, Probe, Request, Rows, Samples
from lab.model.scenario import Abort
from lab.observe import watchdog
from lab.observe.clock import RunClock
from lab.observe.watchdog import AbortWatch
from tests.contract.fakes.clock import FakeClock


class Canary:
    """An observer whose probes are given, and how it died."""

    def __init__(
        self,
        probes: Sequence[Probe] = (),
        deaths: Sequence[tuple[str, str]] = (),
        requests: Sequence[Request] = (),
        clock: RunClock | None = None,
    ) -> None:
        self.probes, self.deaths, self.requests, self.clock = probes, deaths, requests, clock

    def since(self, from_ms: float) -> Samples:
        now_ms = math.inf if self.clock is None else self.clock.now_ms()
        probes = [p for p in self.probes if from_ms <= p.sent_ms and (p.done_ms or p.sent_ms) <= now_ms]
        return Samples(
            probes=Rows(probes), requests=Rows(r for r in self.requests if r.scheduled_ms >= from_ms)
        )

    def died(self) -> list[tuple[str, str]]:
        return list(self.deaths)


def seconds_until_ended(watch: AbortWatch, patience_s: float) -> float | None:
    """How long a call that blocks is left to block: the handler raises, as the run's does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    began = time.monotonic()
    try:
        watch.start()
        time.sleep(patience_s)
    except KeyboardInterrupt:
        return time.monotonic() - began
    finally:
        watch.stop()
        signal.signal(signal.SIGTERM, before)
    return None


def watch(abort: Abort, canary: Canary, folder: Path) -> AbortWatch:
    return AbortWatch(abort, canary.clock or RunClock(), canary, canary, [folder])  # type: ignore[arg-type]


def test_a_disk_that_fills_ends_the_run_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=GB - 1))
    dog = watch(Abort(free_disk_bytes=GB), Canary(), tmp_path)
    ended_s = seconds_until_ended(dog, 5)
    assert ended_s is not None and ended_s < 1
    assert dog.tripped() is not None and "free disk" in str(dog.tripped())


def test_the_real_disk_and_the_real_memory_are_read(tmp_path: Path) -> None:
    """No machine has as much as these ask for."""
    for abort, said in (
        (Abort(free_disk_bytes=1 << 62), "free disk"),
        (Abort(host_memory_bytes=1 << 62), "memory available"),
    ):
        dog = watch(abort, Canary(), tmp_path)
        ended_s = seconds_until_ended(dog, 5)
        assert ended_s is not None and ended_s < 1
        assert said in str(dog.tripped())


def test_a_starved_host_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=GB - 1))
    dog = watch(Abort(host_memory_bytes=GB), Canary(), tmp_path)
    assert seconds_until_ended(dog, 5) is not None
    assert "memory" in str(dog.tripped())


def test_a_target_that_stays_dark_ends_the_run_and_one_good_probe_prevents_it(tmp_path: Path) -> None:
    bad = [Probe(at, at + 10, "search", "transport", "refused") for at in range(0, 3000, 100)]
    dog = watch(Abort(canary_dark_s=0.8), Canary(bad), tmp_path)
    ended_s = seconds_until_ended(dog, 5)
    assert ended_s is not None and 0.8 <= ended_s < 1.8
    assert "dark" in str(dog.tripped())
    good = [Probe(at, at + 10, "search", "ok", "") for at in range(0, 3000, 400)]
    calm = watch(Abort(canary_dark_s=0.8), Canary([*bad, *good]), tmp_path)
    assert seconds_until_ended(calm, 1.5) is None and calm.tripped() is None


@pytest.mark.parametrize("outcome", [None, "unsent", "stalled"])
def test_a_canary_that_was_not_asked_is_not_dark(outcome: str | None, tmp_path: Path) -> None:
    """One of a slow target comes more rarely than `canary_dark` is long; the lab itself may have stood still."""
    probes = [Probe(at, None, "search", outcome, "") for at in range(0, 3000, 100)] if outcome else []
    dog = watch(Abort(canary_dark_s=0.3), Canary([Probe(0, 10, "search", "ok", ""), *probes]), tmp_path)
    assert seconds_until_ended(dog, 1.0) is None and dog.tripped() is None


@pytest.mark.parametrize("answered", [True, False])
def test_a_sparse_canary_that_hangs_is_dark_unless_the_load_is_answered(
    answered: bool, tmp_path: Path
) -> None:
    """A probe every four seconds, which is waited for, says little alone; the load says more often how it is."""
    clock = RunClock()
    probes = [Probe(0, 10, "list", "ok", ""), Probe(100, 700, "list", "transport", "no answer")]
    layer = Layer.OK if answered else Layer.TRANSPORT
    requests = [
        Request(at, at + 1, at + 10, "search", answered, layer, "", "0000") for at in range(50, 3000, 250)
    ]
    dog = watch(Abort(canary_dark_s=1.0), Canary(probes, requests=requests, clock=clock), tmp_path)
    ended_s = seconds_until_ended(dog, 2.5)
    assert (ended_s is None) is answered
    alone = watch(Abort(canary_dark_s=1.0), Canary(probes, clock=RunClock()), tmp_path)
    ended_s = seconds_until_ended(alone, 4.0)
    assert ended_s is not None and ended_s >= 1.0


def test_one_bad_probe_is_enough_where_no_good_one_was_asked(tmp_path: Path) -> None:
    dog = watch(Abort(canary_dark_s=0.8), Canary([Probe(500, 510, "search", "transport", "")]), tmp_path)
    assert seconds_until_ended(dog, 5) is not None
    assert "canary dark" in str(dog.tripped())


def test_an_observer_that_died_is_not_waited_for(tmp_path: Path) -> None:
    """It asks nothing more, so nobody would ever see a target go dark."""
    dog = watch(Abort(canary_dark_s=0.3), Canary(deaths=[("observer", "OSError: gone")]), tmp_path)
    ended_s = seconds_until_ended(dog, 5)
    assert ended_s is not None and 0.3 <= ended_s < 1.3
    assert "canary unknown for 0.3 s" in str(dog.tripped()) and "OSError: gone" in str(dog.tripped())


def test_an_observer_that_hangs_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "HUNG_S", 1.0)
    dog = watch(Abort(canary_dark_s=0.3), Canary([Probe(200, None, "search", "unsent", "")]), tmp_path)
    ended_s = seconds_until_ended(dog, 5)
    assert ended_s is not None and ended_s >= 1.0
    assert "had no slot" in str(dog.tripped())


def test_what_cannot_be_read_ends_the_run_too(tmp_path: Path) -> None:
    dog = watch(Abort(), Canary(), tmp_path / "gone")
    assert seconds_until_ended(dog, 5) is not None
    assert "cannot be read" in str(dog.tripped())


def test_a_calm_machine_is_left_alone(tmp_path: Path) -> None:
    dog = watch(Abort(free_disk_bytes=1, host_memory_bytes=1), Canary(), tmp_path)
    assert seconds_until_ended(dog, 0.7) is None
    assert dog.tripped() is None


@pytest.mark.parametrize(("answered_s", "trips_s"), [(0.0, 1200.0), (600.0, 1800.0)])
def test_twenty_minutes_of_darkness_at_ten_hertz_are_waited_for(
    answered_s: float, trips_s: float, tmp_path: Path
) -> None:
    """Only the rows of some minutes are remembered; the last good probe is older than all of them."""
    clock, probes = FakeClock(), deque[Probe](maxlen=3000)
    canary = Canary()
    dog = AbortWatch(Abort(1, 1, canary_dark_s=1200.0), clock, canary, canary, [tmp_path])  # type: ignore[arg-type]
    for slot in range(20_000):
        clock.at_ms = slot * 100.0
        outcome = "ok" if clock.at_ms <= answered_s * 1000 else "transport"
        probes.append(Probe(clock.at_ms, clock.at_ms + 50, "search", outcome, ""))
        if slot % 100 == 0:
            canary.probes = list(probes)
            if (why := dog.check()) is not None:
                break
    assert why is not None and "canary dark for 1200 s" in why
    assert trips_s <= clock.at_ms / 1000 <= trips_s + 11


def test_a_watch_that_breaks_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr(psutil, "virtual_memory", broken)
    dog = watch(Abort(), Canary(), tmp_path)
    assert seconds_until_ended(dog, 1.0) is None and dog.tripped() is None
    assert [(sampler, "AttributeError" in why) for sampler, why in dog.died()] == [("watchdog", True)]
