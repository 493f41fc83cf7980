"""Records when the lab itself stood still: times measured then are too long, and no evidence against the target."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from lab.model.samples import STALLED, Layer, Probe
from lab.ports import Clock

# A probe that timed out counts as late if it waited, without stalls of the lab, for this share of its deadline.
WAITED_SHARE = 0.8
_STALLS_KEPT = 5000


def unless_stalled(probe: Probe, stalled_ms: float, *, deadline_s: float, slo_ms: float) -> Probe:
    """The probe; marked as `stalled` if it is late only because the lab itself was stalled for `stalled_ms`.

    A refused or wrong answer stands in any case. Without the stall, a probe is late if it took longer than the SLO, or
    if it waited without an answer for most of its deadline.
    """
    if probe.done_ms is None:
        return probe
    took_ms = probe.done_ms - probe.sent_ms
    given_up = probe.outcome == Layer.TRANSPORT.value and took_ms >= deadline_s * 1000
    late = probe.outcome == Layer.OK.value and took_ms > slo_ms
    allowed_ms = min(slo_ms, WAITED_SHARE * 1000 * deadline_s) if given_up else slo_ms
    if not (given_up or late) or took_ms - stalled_ms > allowed_ms:
        return probe
    detail = f"the lab stood still for {stalled_ms:.0f} of {took_ms:.0f} ms; {probe.outcome} {probe.detail}"
    return replace(probe, outcome=STALLED, detail=detail)


class Stalls:
    """Records when the event loop was stalled, by a busy machine or another thread, while something was measured.

    Inside `measuring` the loop wakes every 20 ms. If it wakes more than 10 ms late, that was a stall. Outside it wakes
    every 100 ms, because each wake-up costs CPU time and nothing is measured. `on_beat` is called at each wake-up with
    the time at which it was due and that at which it happened, in ms of the run's clock.
    """

    BEAT_MS, IDLE_BEAT_MS, LATE_MS = 20.0, 100.0, 10.0

    def __init__(
        self, clock: Clock, on_beat: Callable[[float, float], None] = lambda due_ms, woke_ms: None
    ) -> None:
        self._clock, self._due_ms, self._on_beat = clock, float("inf"), on_beat
        self._measurements = 0
        self._beats: asyncio.Task[None] | None = None
        self._stalls: deque[tuple[float, float]] = deque(maxlen=_STALLS_KEPT)

    async def watch(self, stopped: "asyncio.Future[Any]") -> None:
        """Wake again and again until the observer stops, whether or not something is measured."""
        while not stopped.done():
            due_ms = self._clock.now_ms() + self.IDLE_BEAT_MS
            await asyncio.wait([stopped], timeout=self.IDLE_BEAT_MS / 1000)
            self._on_beat(due_ms, self._clock.now_ms())

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Record stalls until the block ends; several blocks may overlap. Use it inside one event loop."""
        self._measurements += 1
        if self._beats is None:
            self._due_ms = self._clock.now_ms() + self.BEAT_MS
            self._beats = asyncio.get_running_loop().create_task(self._beat())
        try:
            yield
        finally:
            self._measurements -= 1

    async def _beat(self) -> None:
        """Wake again and again as long as something is measured."""
        while self._measurements:
            await asyncio.sleep(self.BEAT_MS / 1000)
            woke_ms = self._clock.now_ms()
            if woke_ms - self._due_ms > self.LATE_MS:
                self._stalls.append((self._due_ms, woke_ms))
            self._due_ms = woke_ms + self.BEAT_MS
        self._due_ms, self._beats = float("inf"), None

    def within_ms(self, from_ms: float, to_ms: float) -> float:
        """How long the loop was stalled between two times; a wake-up that is overdue now counts too."""
        stalled_ms = max(0.0, to_ms - max(self._due_ms, from_ms))
        for begin_ms, end_ms in reversed(self._stalls):
            if end_ms <= from_ms:
                break
            stalled_ms += max(0.0, min(end_ms, to_ms) - max(begin_ms, from_ms))
        return stalled_ms

    def excuse(self, probe: Probe, deadline_s: float, slo_ms: float) -> Probe:
        """The probe that has just ended, marked if a stall of the lab made it late; see `unless_stalled`."""
        stalled_ms = 0.0 if probe.done_ms is None else self.within_ms(probe.sent_ms, probe.done_ms)
        return unless_stalled(probe, stalled_ms, deadline_s=deadline_s, slo_ms=slo_ms)
