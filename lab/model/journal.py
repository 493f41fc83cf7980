"""Journal events: what happened, when, in order. Phases, windows and verdicts are derived from these alone.

Kinds and their data (times are the event's own `at_ms` unless a field says otherwise):

run_started       run_id, lab_version, campaign, seed, plan_sha256, target, services (that a fault can act on; older
                  runs have none), images, host, wall_epoch_ms
segment_started   segment (its number), wall_epoch_ms and offset_ms: what the wall clock and the run's clock said when
                  the clock of this segment read 0
prepared          store ("copied" from a kept copy, or "loaded"), why, command_began_ms (negative: before the run's
                  clock began), first_request_s (from there to the lab's first request after the store was loaded or
                  copied), parts [{part, seconds}]
phase_started     phase, step (its name)                   phase_ended       phase, step
load_chunk_started chunk, profile (its name), script, load_began_ms (of the profile's schedule), scheduled_start_ms,
                  duration_ms, due (requests in this chunk); older runs have rate_per_s in place of profile and due
load_chunk_ended  chunk, exit_code, started (iterations), dropped, rows, truncated
proof             fault, moment ("before"|"during"|"still"|"after"), measured, unit, holds, absent, detail
fault_injecting   fault, fault_kind, target, params, undo, transient, lease_s, own_traffic (routes and effect: what it
                  must do to the target's own connections; null where nothing, absent in older runs)
fault_injected    fault         effect          act, on, detail: one line for each effect on the world
fault_in_force    fault                                    fault_void        fault, why
fault_healing     fault     fault_healed  fault            heal_failed       fault, why
settled           fault, recovered                         the runner's own view; the judge does not use it
sampler_died      sampler, why, streams (the tables of samples that may miss rows from then on)
clock_stepped     by_ms, from_ms (the wall clock was right until then; older runs do not have it)
machine_suspended by_ms (how long), from_ms (it was not suspended before)
lab_stalled       from_ms, to_ms: the lab's own event loop stood still in between
capacity_measured operations {name: calls_per_s, latency_ms, cpu_ms, calls}, mix_per_s, side_by_side, took_s, noise_ms
                  (measured before the run's clock began), load_per_s, load_share, observer_hz, observer_share, words,
                  overload and noise: why this machine cannot decide what the plan asks, null where it can
observer_cost     canary_ms, recall_ms, capacity_cpu_ms_per_s, share: in older runs, in place of capacity_measured
container_event   service, action, exit_code               interrupted       why
guardian_started  pid                                      guardian_lost   why
aborted           why (abort_if, or a fault not healed or taken away)
lab_error         where, error (its type), detail, place, trace, fault where it concerns one: an unexpected
                  exception; what follows from it (a void fault, a sampler that died) is an event of its own
lab_failed        why                                      run_ended         rows {table: n}, last_seq

`guardian.jsonl` has the same form, written by the guardian: guardian_started, lease_taken, fenced (why, generation),
ended_process, healed (fault, outcome, detail), verified, guardian_ended.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# What happens to time itself in a run.
CLOCK_STEPPED, MACHINE_SUSPENDED, LAB_STALLED = "clock_stepped", "machine_suspended", "lab_stalled"
LAB_ERROR = "lab_error"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of `journal.jsonl`; `at_ms` on the run's monotonic clock, `wall` in ISO 8601 UTC.

    `segment` is not written: it follows from the file in which the event stands.
    """

    seq: int
    writer: str
    at_ms: float
    wall: str
    kind: str
    data: Mapping[str, Any]
    segment: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Where the event stands in its journal: events of one journal are ordered by it."""
        return self.segment, self.seq

    def to_json(self) -> dict[str, Any]:
        """The event as one flat JSON object."""
        head = {
            "seq": self.seq,
            "writer": self.writer,
            "at_ms": self.at_ms,
            "wall": self.wall,
            "kind": self.kind,
        }
        return {**head, **self.data}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_seq(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_time(value: object) -> bool:
    """Whether a value is a finite number; an integer that is too large for a float is refused."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


_HEAD: Mapping[str, Callable[[object], bool]] = {
    "seq": _is_seq,
    "writer": _is_text,
    "at_ms": _is_time,
    "wall": _is_text,
    "kind": _is_text,
}


def event_from_json(line: Mapping[str, Any]) -> Event:
    """The event in one journal line; raises ValueError if it is no object, or if its head is incomplete or wrong."""
    if not isinstance(line, Mapping):
        raise ValueError(f"a journal line is an object, not {type(line).__name__}")
    try:
        head = {name: line[name] for name in _HEAD}
    except KeyError as error:
        raise ValueError(f"journal line without {error}") from error
    for name, is_one in _HEAD.items():
        if not is_one(head[name]):
            raise ValueError(f"no event has the {name} {head[name]!r:.40}")
    return Event(**head, data={key: value for key, value in line.items() if key not in _HEAD})


@dataclass(frozen=True)
class Journal:
    """The events of one run in order of `seq`; `damage` says what could not be read, if anything."""

    events: tuple[Event, ...]
    damage: str = ""

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def of(self, *kinds: str) -> list[Event]:
        """Events of these kinds, in order."""
        if len(kinds) == 1:
            return list(self._by_kind.get(kinds[0], ()))
        return [event for event in self.events if event.kind in kinds]

    def first(self, kind: str, **matching: object) -> Event | None:
        """The first event of a kind whose data has these values."""
        return next(_matching(self._by_kind.get(kind, ()), matching), None)

    def last(self, kind: str, **matching: object) -> Event | None:
        """The last event of a kind whose data has these values."""
        return next(_matching(reversed(self._by_kind.get(kind, [])), matching), None)

    @cached_property
    def _by_kind(self) -> Mapping[str, list[Event]]:
        """The events by kind, kept because a long run has many events and is queried often."""
        found: dict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            found[event.kind].append(event)
        return dict(found)


def _matching(events: Iterable[Event], matching: Mapping[str, object]) -> Iterator[Event]:
    for event in events:
        if all(event.data.get(key) == value for key, value in matching.items()):
            yield event
