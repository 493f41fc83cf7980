"""Undos: what heals a fault, as typed data with absolute old values. An undo must work alone, in another process.

A `token` names the lab's own processes that a fault started; it is empty where the fault started none. `container_id`
is the container that the fault acted on: a container that replaced it is left alone.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, get_args


@dataclass(frozen=True, slots=True)
class UndoFacts:
    """What every undo of one type has in common; each type states it as `facts`.

    `ends_with_the_stack`: the effect of the fault is gone as soon as no container of the stack runs. Limits of CPU,
    memory and processes stay, because they stand in a container's configuration; a filler file stays on the volume.

    `starts_a_container`: the heal starts a container, so the clock of the recovery runs from the moment when the start
    was issued, and not from the moment when the container is healthy.

    `container_actions`: what the fault and its heal do to their container, in the engine's words. They distinguish the
    lab's own events from those of others.
    """

    ends_with_the_stack: bool = False
    starts_a_container: bool = False
    container_actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoveToxic:
    """Remove one toxic by its name from one Toxiproxy proxy."""

    facts: ClassVar[UndoFacts] = UndoFacts(ends_with_the_stack=True)

    proxy: str
    name: str


@dataclass(frozen=True, slots=True)
class EnableProxy:
    """Enable a Toxiproxy proxy again."""

    facts: ClassVar[UndoFacts] = UndoFacts(ends_with_the_stack=True)

    proxy: str


@dataclass(frozen=True, slots=True)
class RemoveChain:
    """Remove one netfilter chain, and the jumps to it, from the network namespace of a service."""

    facts: ClassVar[UndoFacts] = UndoFacts(ends_with_the_stack=True)

    service: str
    container_id: str
    table: str
    chain: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class RemoveQdisc:
    """Remove the lab's root qdisc of a kind from a device in a service's network namespace."""

    facts: ClassVar[UndoFacts] = UndoFacts(ends_with_the_stack=True)

    service: str
    container_id: str
    device: str
    kind: str


@dataclass(frozen=True, slots=True)
class StartContainer:
    """End the lab's own process that kills a container, if there is one, then start the container."""

    facts: ClassVar[UndoFacts] = UndoFacts(
        ends_with_the_stack=True, starts_a_container=True, container_actions=("kill", "stop", "restart")
    )

    service: str
    container_id: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Unpause:
    """Unpause the container of a service."""

    facts: ClassVar[UndoFacts] = UndoFacts(ends_with_the_stack=True, container_actions=("pause",))

    service: str
    container_id: str


@dataclass(frozen=True, slots=True)
class RestoreCpuQuota:
    """Restore the CPU quota of a container; `quota_us` is -1 where there was no limit."""

    facts: ClassVar[UndoFacts] = UndoFacts()

    service: str
    container_id: str
    quota_us: int
    period_us: int


@dataclass(frozen=True, slots=True)
class RestoreMemory:
    """End the lab's processes, then restore the memory limits of a container (bytes; -1 where there was no limit)."""

    facts: ClassVar[UndoFacts] = UndoFacts()

    service: str
    container_id: str
    memory_bytes: int
    memory_and_swap_bytes: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class ReviveContainer:
    """Do what RestoreMemory does, then start the container, which the kernel killed for lack of memory."""

    facts: ClassVar[UndoFacts] = UndoFacts(starts_a_container=True)

    service: str
    container_id: str
    memory_bytes: int
    memory_and_swap_bytes: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class RestorePidsMax:
    """Restore the limit of processes of a container; -1 where there was no limit."""

    facts: ClassVar[UndoFacts] = UndoFacts()

    service: str
    container_id: str
    pids_max: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class RestoreThrottle:
    """Restore the block device limits of a container: bytes and operations a second; 0 where there was no limit."""

    facts: ClassVar[UndoFacts] = UndoFacts(ends_with_the_stack=True)

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

    facts: ClassVar[UndoFacts] = UndoFacts()

    service: str
    container_id: str
    name: str


@dataclass(frozen=True, slots=True)
class RestoreOpenFiles:
    """End the lab's connections, then restore the limit of open files of one process.

    The process is known by its id and its start time in clock ticks since boot.
    """

    facts: ClassVar[UndoFacts] = UndoFacts(ends_with_the_stack=True)

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

    facts: ClassVar[UndoFacts] = UndoFacts()

    token: str


@dataclass(frozen=True, slots=True)
class EndRun:
    """End what belongs to a run as a whole: its load containers and its own processes."""

    facts: ClassVar[UndoFacts] = UndoFacts()

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
_TYPES: dict[str, type[Undo]] = {cls.__name__: cls for cls in get_args(Undo)}


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """A pending undo, with the stack that it acts on, the run that recorded it, and the guardian of that run.

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


def facts_of(undo: object) -> UndoFacts:
    """The facts of an undo as a journal holds it: a mapping with the name of its type under `type`.

    A journal may come from another version of the lab or be damaged. For an unknown type every fact has its default.
    """
    name = undo.get("type") if isinstance(undo, dict) else None
    known = _TYPES.get(name) if isinstance(name, str) else None
    return UndoFacts() if known is None else known.facts


def to_json(record: UndoRecord) -> dict[str, Any]:
    """The record as plain JSON values; `from_json` is its inverse."""
    plain = {field.name: getattr(record, field.name) for field in fields(record) if field.name != "undo"}
    return {**plain, "undo": {"type": type(record.undo).__name__, **asdict(record.undo)}}


def from_json(data: dict[str, Any]) -> UndoRecord:
    """The record that `to_json` wrote; raises ValueError on anything else: a guessed undo is worse than none."""
    try:
        values = dict(data["undo"])
        undo = _TYPES[values.pop("type")](**values)
        return UndoRecord(**{**data, "undo": undo})
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an undo record: {error}") from error
