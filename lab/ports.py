"""Every effect that a fault, a probe or the run may have, as Protocols; `World` bundles them.

Adapters implement them with Docker, Toxiproxy and cgroups; `tests/contract` lays fakes and real ones side by side.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from lab.model.journal import Event
from lab.model.samples import HostReading, Layer, Memory, Probe, Recall, Request
from lab.model.target import Operation
from lab.model.undo import Undo, UndoRecord


@dataclass(frozen=True, slots=True)
class Observation:
    """A fault's effect as measured: `holds` when it is in force as promised, `absent` when back to what was before.

    Neither may be true: a half-healed fault does not hold and is not absent.
    """

    measured: float
    unit: str
    holds: bool
    absent: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What the engine says of one service's container; `pid` is 0 when it does not run."""

    service: str
    id: str
    name: str
    running: bool
    paused: bool
    pid: int
    started_at: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class CpuQuota:
    """A CPU cap in microseconds of CPU time per period; `quota_us` is -1 where there is none."""

    quota_us: int
    period_us: int


@dataclass(frozen=True, slots=True)
class CpuUsage:
    """Cumulative counters of a container's CPU cgroup, read at `at_ms`."""

    at_ms: float
    usage_us: int
    periods: int
    throttled_periods: int


class Clock(Protocol):
    """One monotonic clock since the run began, and the wall clock beside it."""

    def now_ms(self) -> float: ...
    def epoch_ms(self) -> float: ...
    def wall(self) -> str: ...
    def sleep_s(self, seconds: float) -> None: ...


class Containers(Protocol):
    """The containers of one stack, by compose service; refuses what does not carry the lab's labels.

    Methods that act take the container id that the caller saw before, and refuse another one (FaultError).
    """

    def state(self, service: str) -> ContainerState: ...
    def kill(self, service: str, container_id: str) -> None: ...
    def start(self, service: str, container_id: str) -> None: ...
    def set_cpu_quota(self, service: str, container_id: str, quota: CpuQuota) -> None: ...


class Proxies(Protocol):
    """The Toxiproxy of one stack; proxies are named after the service behind them (`mcp`, `qdrant`)."""

    def require_enabled(self, proxy: str) -> None: ...
    def toxics(self, proxy: str) -> list[str]: ...
    def add_toxic(
        self, proxy: str, *, name: str, kind: str, stream: str, attributes: dict[str, Any]
    ) -> None: ...
    def remove_toxic(self, proxy: str, *, name: str) -> None: ...
    def round_trips_ms(self, proxy: str, tries: int) -> list[float]: ...


class Cgroups(Protocol):
    """The CPU cgroup of a service's container, read and loaded from the host (or by exec where not root)."""

    def cpu_quota(self, service: str) -> CpuQuota: ...
    def cpu_usage(self, service: str) -> CpuUsage: ...
    def burn(self, service: str, seconds: float) -> None: ...


class Reachability(Protocol):
    """Whether a service answers its health address, asked from the host past all proxies."""

    def answers(self, service: str, *, timeout_s: float) -> bool: ...


class UndoStore(Protocol):
    """Pending undos in the state directory; durable before `record` returns."""

    def record(self, record: UndoRecord) -> None: ...
    def done(self, run_id: str, fault_id: str) -> None: ...
    def pending(self) -> list[UndoRecord]: ...


class Recorder(Protocol):
    """The journal of a run; `durable` forces the event to disk before returning."""

    def record(self, kind: str, *, durable: bool = False, **data: Any) -> Event: ...


class Sink(Protocol):
    """Takes samples of any table; thread-safe."""

    def add(self, rows: Iterable[Request | Probe | Recall | Memory | HostReading]) -> None: ...


@dataclass(frozen=True, slots=True)
class World:
    """All that a fault may touch."""

    clock: Clock
    containers: Containers
    proxies: Proxies
    cgroups: Cgroups
    reach: Reachability


class Fault(Protocol):
    """A fault kind: its fields are its parameters, validated strictly by their types.

    `services` lists what it can hit, `families` groups it in lists, `needs` names the capability (see `lab doctor`).
    `heal` is idempotent and works from the undo alone, in another process.
    """

    kind: ClassVar[str]
    family: ClassVar[str]
    services: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]]

    @property
    def target(self) -> str: ...
    def prepare(self, world: World) -> Undo: ...
    def inject(self, world: World, undo: Any) -> None: ...
    def observe(self, world: World, before: Observation | None) -> Observation: ...
    @staticmethod
    def heal(world: World, undo: Any) -> None: ...


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
    """Open-model load in bounded chunks that abut; `start` returns at once, `stop` waits and collects."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def died(self) -> list[tuple[str, str]]: ...
