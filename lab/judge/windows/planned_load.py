"""The planned load of a window: how many requests were due in it, and which chunks belong to it."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from lab.judge.windows.window import Window
from lab.model.evidence import Evidence
from lab.model.journal import Event
from lab.model.load import ConstantArrivalRate, LoadProfile
from lab.model.plan import Plan

# The journal rounds times; two times that differ by less are equal.
ROUNDING_MS = 0.01


def load_in(plan: Plan, window: Window) -> LoadProfile | None:
    """The load of the step that a window belongs to."""
    for step in plan.steps:
        if step.name == window.name:
            return step.load
        for fault in step.faults:
            if fault.id == window.fault:
                return step.load
    return None


def due_at_least(evidence: Evidence, window: Window) -> int:
    """The smallest number of requests that can have been due in a window; 0 if its step has no load."""
    load = load_in(evidence.plan, window)
    if load is None:
        return 0
    began_ms = _began_ms(evidence, load, window)
    return load.schedule.due_at_least(window.from_ms - began_ms, window.to_ms - began_ms)


def _began_ms(evidence: Evidence, load: LoadProfile, window: Window) -> float:
    """When the schedule of a window's load began; if the journal does not say, the begin of the window."""
    begins = [
        event.data["load_began_ms"]
        for event in evidence.journal.of("load_chunk_started")
        if event.data.get("profile") == load.name and isinstance(event.data.get("load_began_ms"), int | float)
    ]
    return max((float(at_ms) for at_ms in begins if at_ms < window.to_ms), default=window.from_ms)


def is_planned(chunk: Event, plan: Plan) -> bool:
    """Whether a chunk that started belongs to a load of the plan. Older journals only name its rate."""
    if "profile" not in chunk.data:
        return any(ConstantArrivalRate(chunk.data["rate_per_s"]) == load.schedule for load in plan.loads())
    return any(_belongs_to(chunk, load) for load in plan.loads())


def _belongs_to(chunk: Event, load: LoadProfile) -> bool:
    """Whether a chunk has the script, begin, duration and number of requests of a chunk of this profile."""
    if (chunk.data["profile"], chunk.data["script"]) != (load.name, load.script):
        return False
    start_ms = float(chunk.data["scheduled_start_ms"]) - float(chunk.data["load_began_ms"])
    planned = load.chunk(max(0, round(start_ms / load.chunk_ms)))
    differences = (start_ms - planned.start_ms, float(chunk.data["duration_ms"]) - planned.duration_ms)
    return int(chunk.data["due"]) == planned.due and all(abs(ms) <= ROUNDING_MS for ms in differences)


def chunks_in_other_steps(evidence: Evidence, windows: Sequence[Window]) -> Iterator[str]:
    """The chunks with a request that was due in a step with another load."""
    profiles = {
        e.data["chunk"]: e.data["profile"]
        for e in evidence.journal.of("load_chunk_started")
        if "profile" in e.data
    }
    phases = sorted(windows, key=lambda phase: phase.from_ms)
    starts_ms = [phase.from_ms for phase in phases]
    names = {phase.name: load.name if (load := load_in(evidence.plan, phase)) else None for phase in phases}
    if set(profiles.values()) | set(names.values()) <= {next(iter(names.values()), None)}:
        # Every step has the same load, so no chunk can be in the wrong step, and the requests need not be read.
        return
    found = set()
    for request in evidence.samples.requests:
        place = bisect_right(starts_ms, request.scheduled_ms) - 1
        if place < 0 or not phases[place].holds(request.scheduled_ms) or request.source not in profiles:
            continue
        if profiles[request.source] != names[phases[place].name]:
            found.add(request.source)
    yield from sorted(found)
