"""What a run works with beside the world: clock, records, samples, the guard, load and observer."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from lab.model.journal import Event
from lab.model.load import LoadProfile
from lab.model.plan import Plan
from lab.model.samples import HostReading, Layer, Memory, Probe, Recall, Request
from lab.model.target import Operation
from lab.model.undo import UndoRecord


class Clock(Protocol):
    """One monotonic clock since the run began, and the wall clock beside it."""

    def now_ms(self) -> float: ...
    def epoch_ms(self) -> float: ...
    def wall(self) -> str: ...
    def sleep_s(self, seconds: float) -> None: ...


class Reachability(Protocol):
    """Whether a service answers its health address, asked from the host past all proxies."""

    def answers(self, service: str, *, timeout_s: float) -> bool: ...


class UndoStore(Protocol):
    """Pending undos in the state directory; durable before `record` returns."""

    def record(self, record: UndoRecord) -> None: ...
    def done(self, run_id: str, fault_id: str) -> None: ...
    def pending(self) -> list[UndoRecord]: ...


class Guard(Protocol):
    """The independent process that heals when this run dies or hangs.

    No fault without it: `lease` raises FaultError where it does not acknowledge within seconds. `check` comes
    immediately before each effect and raises FencedError once the guardian has taken over. `lost` says how the
    process ended under the run that it guards, None while it lives.
    """

    @property
    def process(self) -> tuple[int, float]: ...
    def lease(self, fault_id: str, seconds: float) -> float: ...
    def check(self) -> None: ...
    def lost(self) -> str | None: ...
    def release(self, fault_id: str) -> None: ...
    def close(self) -> None: ...


class Watchdog(Protocol):
    """Ends the run as Ctrl-C would when a condition of `abort_if` trips; `tripped` says which, None while none did."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def tripped(self) -> str | None: ...
    def died(self) -> list[tuple[str, str]]: ...


class Recorder(Protocol):
    """The journal of a run; `durable` forces the event to disk before returning."""

    def record(self, kind: str, *, durable: bool = False, **data: Any) -> Event: ...


class Sink(Protocol):
    """Takes samples of any table; thread-safe."""

    def add(self, rows: Iterable[Request | Probe | Recall | Memory | HostReading]) -> None: ...


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """How one tool call ended: `layer` and `message` say where it failed, `payload` is what the server answered."""

    layer: Layer
    message: str
    payload: Any
    sessions_lost: int = 0


class Mcp(Protocol):
    """One MCP session that re-establishes itself; `values` fill the operation's `$var` places."""

    async def call(
        self, operation: Operation, values: Mapping[str, Any], *, timeout_s: float
    ) -> CallOutcome: ...


class Observer(Protocol):
    """Canary, recall and memory sampling around one run; samples go to the sink it was made with."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def watch_closely(self, closely: bool) -> None: ...
    def recent_probes(self, since_ms: float) -> Sequence[Probe]: ...
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
