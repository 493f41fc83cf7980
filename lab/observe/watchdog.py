"""Ends a run when a condition of `abort_if` is met: a full disk, too little memory, a dark target."""

import math
import os
import shutil
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from lab.boundary import run_sampler
from lab.model.quantities import MB
from lab.model.samples import STALLED, Layer, Samples
from lab.model.scenario import Abort
from lab.ports import Clock, Observer, Recent

EVERY_S = 0.5
# An observer without a canary slot for this long hangs: only a target below two requests a minute has a slower canary.
HUNG_S = 600.0
# A probe is recorded when it has ended, which takes less than this: no canary has such a long deadline.
ENDED_WITHIN_S = 60.0
# Outcomes of canary slots that say nothing about the target: the lab could not send the probe, or was stalled itself.
NOT_ASKED = (Layer.UNSENT.value, STALLED)


@dataclass(slots=True)
class _Latest:
    """The newest times that decide whether the target is dark, in ms of the run's clock, by the time of sending.

    `slot_ms` is that of the newest canary slot, `answered_ms` that of the newest call which was answered rightly, and
    `dark_from_ms` that of the first failed call after it; infinite if none failed since. They are kept here because
    only the rows of the last minutes are remembered elsewhere.
    """

    slot_ms: float = -math.inf
    answered_ms: float = -math.inf
    dark_from_ms: float = math.inf

    def take(self, rows: Samples) -> None:
        """Take in the newest rows, in any order; the same row may come more than once."""
        self.slot_ms = max([self.slot_ms, *(probe.sent_ms for probe in rows.probes)])
        calls = [(p.sent_ms, p.outcome == Layer.OK.value) for p in rows.probes if p.outcome not in NOT_ASKED]
        calls += [
            (r.sent_ms, r.ok) for r in rows.requests if r.sent_ms is not None and r.layer is not Layer.LOST
        ]
        self.answered_ms = max([self.answered_ms, *(sent_ms for sent_ms, ok in calls if ok)])
        failed = [self.dark_from_ms, *(sent_ms for sent_ms, ok in calls if not ok)]
        self.dark_from_ms = min((ms for ms in failed if ms > self.answered_ms), default=math.inf)


class AbortWatch:
    """Implements `lab.ports.Watchdog`: checks twice a second, and ends this process's run with SIGTERM once.

    It sends a signal because the run may be inside a call that takes seconds. `folders` are checked for free space. A
    target is dark if neither the canary nor any request of the load is answered rightly.
    """

    def __init__(
        self, abort: Abort, clock: Clock, observer: Observer, recent: Recent, folders: Sequence[Path]
    ) -> None:
        self._abort, self._clock, self._observer, self._folders = abort, clock, observer, folders
        self._recent = recent
        self._why: str | None = None
        self._deaths: list[tuple[str, str]] = []
        self._began_ms = 0.0
        self._checked_ms = 0.0
        self._latest = _Latest()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread. The time without a good probe counts from here."""
        self._began_ms = self._checked_ms = self._clock.now_ms()
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; no signal is sent after this."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def tripped(self) -> str | None:
        """The condition that was met, in words; None if none was."""
        return self._why

    def died(self) -> list[tuple[str, str]]:
        """The reason why the thread ended by itself, if it did. Then no condition of `abort_if` is checked any more."""
        return list(self._deaths)

    def _run(self) -> None:
        run_sampler(self._watch, lambda why: self._deaths.append(("watchdog", why)))

    def _watch(self) -> None:
        while not self._stopping.wait(EVERY_S):
            if (why := self.check()) is not None:
                self._why = why
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def check(self) -> str | None:
        """The condition that is met now, in words; None if none is."""
        for folder in self._folders:
            try:
                free = shutil.disk_usage(folder).free
            except OSError as error:
                return f"the free disk at {folder} cannot be read: {error}"
            if free < self._abort.free_disk_bytes:
                return _below("free disk", folder, free, self._abort.free_disk_bytes)
        available = psutil.virtual_memory().available
        if available < self._abort.host_memory_bytes:
            return _below("memory available", "this host", available, self._abort.host_memory_bytes)
        return self._dark()

    def _dark(self) -> str | None:
        limit_s = self._abort.canary_dark_s
        if limit_s is None:
            return None
        now_ms = self._clock.now_ms()
        self._latest.take(self._recent.since(self._checked_ms - ENDED_WITHIN_S * 1000))
        self._checked_ms = now_ms
        since_ms = now_ms - limit_s * 1000
        if since_ms < self._began_ms:
            return None
        if self._latest.dark_from_ms <= since_ms:
            return f"canary dark for {limit_s:g} s: no probe and no request was answered rightly"
        if self._latest.dark_from_ms < math.inf or self._latest.answered_ms >= since_ms:
            return None
        return self._blind(limit_s, now_ms)

    def _blind(self, limit_s: float, now_ms: float) -> str | None:
        """No call failed. That is a reason to abort only if the observer died or hangs; a slow canary is none."""
        if not (deaths := self._observer.died()):
            since_ms = now_ms - 1000 * max(limit_s, HUNG_S)
            hangs = since_ms > self._began_ms and self._latest.slot_ms < since_ms
            return f"canary unknown: its observer had no slot for {HUNG_S:g} s or more" if hangs else None
        why = "; ".join(f"{sampler}: {how}" for sampler, how in deaths)
        return f"canary unknown for {limit_s:g} s: no probe was sent, and these parts of the observer died: {why}"


def _below(what: str, where: object, found: int, limit: int) -> str:
    return f"{what} at {where}: {found / MB:.0f} MB, less than {limit / MB:.0f} MB"
