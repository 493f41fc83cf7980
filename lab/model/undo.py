"""What heals a fault, as typed data with absolute old values; it must work in another process, alone.

A `token` names the lab's own processes that a fault started; empty where it started none. `container_id` is the
container that was hurt: another one in its place is left alone.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, get_args


@dataclass(frozen=True, slots=True)
class RemoveToxic:
    """Remove one toxic by its name from one Toxiproxy proxy."""

    proxy: str
    name: str


@dataclass(frozen=True, slots=True)
class EnableProxy:
    """Enable a Toxiproxy proxy again."""

    proxy: str


@dataclass(frozen=True, slots=True)
class RemoveChain:
    """Remove one netfilter chain, and the jumps to it, from the network namespace of a service."""

    service: str
    container_id: str
    table: str
    chain: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class RemoveQdisc:
    """Remove the lab's root qdisc of a kind from a device in a service's network namespace."""

    service: str
    container_id: str
    device: str
    kind: str


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Start the container of a service that the lab stopped, after ending the lab's own killers."""

    service: str
    container_id: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Unpause:
    """Thaw the container of a service."""

    service: str
    container_id: str


@dataclass(frozen=True, slots=True)
class RestoreCpuQuota:
    """Give a container its CPU quota back; `quota_us` is -1 where there was no limit."""

    service: str
    container_id: str
    quota_us: int
    period_us: int


@dataclass(frozen=True, slots=True)
class RestoreMemory:
    """End the lab's hogs, then give a container its memory limits back (bytes, -1 where there was none)."""

    service: str
    container_id: str
    memory_bytes: int
    memory_and_swap_bytes: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class ReviveContainer:
    """As RestoreMemory, then start the container whose process the kernel killed for want of memory."""

    service: str
    container_id: str
    memory_bytes: int
    memory_and_swap_bytes: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class RestorePidsMax:
    """Give a container its limit of processes back; -1 where there was none."""

    service: str
    container_id: str
    pids_max: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class RestoreThrottle:
    """Give a container its block device limits back: bytes and operations a second, 0 where there was none."""

    service: str
    container_id: str
    device: str
    read_bps: int
    write_bps: int
    read_iops: int
    write_iops: int


@dataclass(frozen=True, slots=True)
class RemoveFiller:
    """Remove the lab's filler file from the file system that holds a service's data."""

    service: str
    container_id: str
    name: str


@dataclass(frozen=True, slots=True)
class RestoreOpenFiles:
    """End the lab's connections, then give one process its limit of open files back.

    The process is known by its id and its start time in clock ticks since boot.
    """

    service: str
    container_id: str
    pid: int
    pid_started: float
    soft: int
    hard: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class EndProcesses:
    """End the lab's own processes of one fault."""

    token: str


@dataclass(frozen=True, slots=True)
class EndRun:
    """End what belongs to a run as a whole: its load containers and its own processes."""

    run_id: str
    project: str


Undo = (
    RemoveToxic
    | EnableProxy
    | RemoveChain
    | RemoveQdisc
    | StartContainer
    | Unpause
    | RestoreCpuQuota
    | RestoreMemory
    | ReviveContainer
    | RestorePidsMax
    | RestoreThrottle
    | RemoveFiller
    | RestoreOpenFiles
    | EndProcesses
    | EndRun
)
_KINDS: dict[str, type[Undo]] = {cls.__name__: cls for cls in get_args(Undo)}


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """A pending undo and whose it is: the stack it acts on, the run that recorded it, and its guardian.

    Processes are known by id and start time in clock ticks since boot. `lease_until_s` is when the fault's lease ends,
    in seconds of CLOCK_BOOTTIME; 0 where it has none.
    """

    run_id: str
    fault_id: str
    fault_kind: str
    project: str
    pid: int
    pid_started: float
    undo: Undo
    guardian_pid: int = 0
    guardian_started: float = 0.0
    lease_until_s: float = 0.0


def to_json(record: UndoRecord) -> dict[str, Any]:
    """The record as plain JSON values; `from_json` is its inverse."""
    plain = {field.name: getattr(record, field.name) for field in fields(record) if field.name != "undo"}
    return {**plain, "undo": {"type": type(record.undo).__name__, **asdict(record.undo)}}


def from_json(data: dict[str, Any]) -> UndoRecord:
    """The record that `to_json` wrote; raises ValueError on anything else, for a guessed undo is worse than none."""
    try:
        values = dict(data["undo"])
        undo = _KINDS[values.pop("type")](**values)
        return UndoRecord(**{**data, "undo": undo})
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an undo record: {error}") from error
