"""Journals, as it happens, what damages times: a stall of the lab, a step of the wall clock, a suspended machine."""

from lab.model.journal import LAB_STALLED
from lab.observe.clock import ClockJump, RunClock
from lab.ports import Recorder

# A shorter stall only excuses the probes that it made late. In a longer one the lab could have missed anything.
STALL_MIN_MS = 1000.0


class TimeWatch:
    """Is called by each beat of the observer's event loop, many times a second; the recorder may be slow."""

    def __init__(self, clock: RunClock, recorder: Recorder) -> None:
        self._clock, self._recorder = clock, recorder

    def beat(self, due_ms: float, woke_ms: float) -> None:
        """Take in that the loop was to wake at `due_ms` and woke at `woke_ms`."""
        for jump in self._clock.jumps():
            record_jump(self._recorder, jump)
        if woke_ms - due_ms > STALL_MIN_MS:
            self._recorder.record(LAB_STALLED, from_ms=due_ms, to_ms=woke_ms)


def record_jump(recorder: Recorder, jump: ClockJump) -> None:
    """Journal what happened to a clock."""
    recorder.record(jump.kind, by_ms=jump.by_ms, from_ms=jump.from_ms)
