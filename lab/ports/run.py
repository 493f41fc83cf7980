"""The ports of a run beside the world: clock, journal, samples, guard, load, observer and progress."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from lab.model.journal import Event
from lab.model.load import LoadProfile
from lab.model.plan import Plan
from lab.model.samples import HostReading, Layer, Memory, Probe, Recall, Request, Samples, Traffic
from lab.model.target import Operation
from lab.model.undo import UndoRecord


class Clock(Protocol):
    """A monotonic clock that starts with the run, and the wall clock.

    `wall_steps` are the known steps of the wall clock since a time of the run's clock: just before each step, and by
    how many ms.
    """

    def now_ms(self) -> float: ...
    def epoch_ms(self) -> float: ...
    def wall(self) -> str: ...
    def sleep_s(self, seconds: float) -> None: ...
    def wall_steps(self, since_ms: float) -> Sequence[tuple[float, float]]: ...


class Reachability(Protocol):
    """Asks a service's health address from the host, without any proxy between."""

    def answers(self, service: str, *, timeout_s: float) -> bool: ...


class UndoStore(Protocol):
    """The pending undos in the state directory; an undo is on disk before `record` returns."""

    def record(self, record: UndoRecord) -> None: ...
    def done(self, run_id: str, fault_id: str) -> None: ...
    def pending(self) -> list[UndoRecord]: ...


class Guard(Protocol):
    """The guardian of a run: an independent process that heals when the run dies or hangs.

    Without a guardian there is no fault: `lease` raises FaultError if the guardian does not acknowledge in time.
    `check` is called immediately before each effect, and raises FencedError once the guardian has taken over. `lost`
    says how the guardian ended while the run still goes on; it is None while the guardian lives.
    """

    @property
    def process(self) -> tuple[int, float]: ...
    def lease(self, fault_id: str, seconds: float) -> float: ...
    def check(self) -> None: ...
    def lost(self) -> str | None: ...
    def release(self, fault_id: str) -> None: ...
    def close(self) -> None: ...


class Watchdog(Protocol):
    """Ends the run, as Ctrl-C would, when a condition of `abort_if` is met; `tripped` says which one, or is None."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def tripped(self) -> str | None: ...
    def died(self) -> list[tuple[str, str]]: ...


class Recorder(Protocol):
    """The journal of a run; a `durable` event is on disk before `record` returns."""

    def record(self, kind: str, *, durable: bool = False, **data: Any) -> Event: ...


class Sink(Protocol):
    """Stores samples of any table; safe to call from several threads."""

    def add(self, rows: Iterable[Request | Probe | Recall | Memory | HostReading | Traffic]) -> None: ...


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """The outcome of one tool call: `layer` and `message` say where it failed, `payload` is the server's answer."""

    layer: Layer
    message: str
    payload: Any
    sessions_lost: int = 0


class Mcp(Protocol):
    """An MCP session that reconnects when it is lost; `values` replace the `$var` nodes of an operation."""

    async def call(
        self, operation: Operation, values: Mapping[str, Any], *, timeout_s: float
    ) -> CallOutcome: ...


class Observer(Protocol):
    """Samples canary, recall and memory during one run, and hands the samples to a sink."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def watch_closely(self, closely: bool) -> None: ...
    def died(self) -> list[tuple[str, str]]: ...


class Recent(Protocol):
    """What was observed of the target lately: requests of the load, canary probes and truth queries, as they end.

    `since` gives the rows from a time of the run's clock on, as far as they are remembered, which is some minutes.
    """

    def since(self, from_ms: float) -> Samples: ...


class TargetTraffic(Protocol):
    """Reads the target's own TCP connections in its network namespace, IPv4 and IPv6.

    A reading has one row for each proxy that leads to the target or to a store, and one for each address beside them.
    The first reading is where the counts begin. Raises FaultError where the namespace cannot be read.
    """

    def read(self) -> Sequence[Traffic]: ...


class TrafficSampler(Protocol):
    """Reads the target's connections every few seconds, and whenever `sample` is called; hands rows to a sink."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def sample(self) -> None: ...
    def died(self) -> list[tuple[str, str]]: ...


class LoadGenerator(Protocol):
    """Sends the load of the steps, in bounded chunks that follow each other without a gap.

    `start` begins with the first step's load and returns at once. `change_to` lets the next step's load take over: it
    returns the time of the run's clock at which that load begins, which is now where it is the same load or none.
    `stop` waits until everything is collected.
    """

    def start(self, load: LoadProfile | None) -> None: ...
    def change_to(self, load: LoadProfile | None) -> float: ...
    def stop(self) -> None: ...
    def died(self) -> list[tuple[str, str]]: ...


class Progress(Protocol):
    """Shows a person, or a log, what the lab does.

    `say` is for each step around the run, `advance` for how far a long step has come (a log leaves most of these out),
    and `event` for each event of the run's journal.
    """

    def say(self, text: str) -> None: ...
    def advance(self, text: str) -> None: ...
    def event(self, event: Event) -> None: ...
    def watching(self, plan: Plan, clock: Clock) -> AbstractContextManager[None]: ...
