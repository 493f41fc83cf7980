"""What heals a fault, as typed data with absolute old values; it must work in another process, alone."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RemoveToxic:
    """Remove one toxic by its name from one Toxiproxy proxy."""

    proxy: str
    name: str


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Start the container of a service that the lab killed; `container_id` is the one that was killed."""

    service: str
    container_id: str


@dataclass(frozen=True, slots=True)
class RestoreCpuQuota:
    """Give a container its CPU quota back; `quota_us` is -1 where there was no limit."""

    service: str
    container_id: str
    quota_us: int
    period_us: int


Undo = RemoveToxic | StartContainer | RestoreCpuQuota
_KINDS: dict[str, type[Undo]] = {cls.__name__: cls for cls in (RemoveToxic, StartContainer, RestoreCpuQuota)}


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """A pending undo and whose it is: the stack it acts on and the run (with its process) that recorded it."""

    run_id: str
    fault_id: str
    fault_kind: str
    project: str
    pid: int
    pid_started: float
    undo: Undo


def to_json(record: UndoRecord) -> dict[str, Any]:
    """The record as plain JSON values; `from_json` is its inverse."""
    plain = {name: getattr(record, name) for name in UndoRecord.__slots__ if name != "undo"}
    return {**plain, "undo": {"type": type(record.undo).__name__, **asdict(record.undo)}}


def from_json(data: dict[str, Any]) -> UndoRecord:
    """The record that `to_json` wrote; raises ValueError on anything else, for a guessed undo is worse than none."""
    try:
        fields = dict(data["undo"])
        undo = _KINDS[fields.pop("type")](**fields)
        return UndoRecord(**{**data, "undo": undo})
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an undo record: {error}") from error
