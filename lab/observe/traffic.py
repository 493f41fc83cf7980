"""Samples the target's own connections while a run goes on."""

import threading

from lab.boundary import run_sampler
from lab.errors import FaultError, WorldError
from lab.ports import Sink, TargetTraffic

STOP_TIMEOUT_S = 10.0
# So many readings in a row that could not be made mean that none can be made.
FAILED_MAX = 30


class ConnectionSampler:
    """Implements `lab.ports.TrafficSampler`: one reading every `every_s`, in a thread of its own.

    A reading that cannot be made (the target's network is just gone) gives no row; the judge sees the gap. Without
    `traffic` it reads nothing.
    """

    def __init__(self, traffic: TargetTraffic | None, sink: Sink, every_s: float) -> None:
        self._traffic, self._sink, self._every_s = traffic, sink, every_s
        self._deaths: list[tuple[str, str]] = []
        self._failed = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Make the last reading, and end the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)
        if self._thread.is_alive():
            self._deaths.append(("traffic", "did not stop in time"))

    def sample(self) -> None:
        """Make one reading now, and store it."""
        if self._traffic is None:
            return
        try:
            self._sink.add(self._traffic.read())
            self._failed = 0
        except (FaultError, WorldError) as error:
            self._failed += 1
            if self._failed >= FAILED_MAX:
                raise RuntimeError(f"{self._failed} readings failed, the last one so: {error}") from error

    def died(self) -> list[tuple[str, str]]:
        """Why the sampler failed, if it did."""
        return list(self._deaths)

    def _run(self) -> None:
        run_sampler(self._keep_sampling, lambda why: self._deaths.append(("traffic", why)))

    def _keep_sampling(self) -> None:
        while True:
            self.sample()
            if self._stopping.wait(self._every_s):
                self.sample()
                return
