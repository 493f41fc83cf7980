"""The contract of every fault, in any world: absent, inject, holds, heal, absent, heal again; void if it misses."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from lab.model.undo import UndoRecord, from_json, to_json
from lab.ports import Fault, Observation, World

# Timeouts of what must be seen. A target that starts takes 10 s on an idle machine, and longer on a busy one.
PROVEN_S, GONE_S = 20.0, 60.0
NAP_S = 0.5
# How often a fault that missed is observed; a run would void it after ten seconds of observations.
LOOKS = 6

# A context in which a fault is carried out so that it misses; it is given the fault that was meant, and its undo.
Miss = Callable[[Fault, World, Any], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Life:
    """Durations of one life cycle in seconds: one observation; inject and heal, until they returned and until seen."""

    look: float
    injected: float
    proven: float
    healed: float
    gone: float


def eventually(
    fault: Fault,
    world: World,
    before: Observation | None,
    wanted: Callable[[Observation], bool],
    within_s: float = GONE_S,
) -> Observation:
    """Observe until `wanted` is true, for at most `within_s` on the world's clock; returns the last observation."""
    end_ms = world.clock.now_ms() + within_s * 1000
    seen = fault.observe(world, before)
    while not wanted(seen) and world.clock.now_ms() < end_ms:
        world.clock.sleep_s(NAP_S)
        seen = fault.observe(world, before)
    return seen


def absent(seen: Observation) -> bool:
    """True if nothing of the fault can be measured."""
    return seen.absent


def holds(seen: Observation) -> bool:
    """True if the fault is in force as promised."""
    return seen.holds


def check_life_cycle(fault: Fault, world: World, at: Callable[[str], None] = lambda moment: None) -> Life:
    """Check a fault's whole life cycle; the undo is written as JSON and read back, as another process would do.

    `at` is told when the fault is `prepared`, `injected` and `healed`.
    """
    started_ms = world.clock.now_ms()
    before = fault.observe(world, None)
    look_s = _since_s(world, started_ms)
    if not before.absent:
        before = eventually(fault, world, None, absent)
    assert before.absent and not before.holds, before
    undo = fault.prepare(world)
    record = UndoRecord("run", "f1", fault.kind, "project", 1, 1.0, undo)
    carried = from_json(to_json(record)).undo
    at("prepared")
    started_ms = world.clock.now_ms()
    try:
        fault.inject(world, undo)
        injected_s = _since_s(world, started_ms)
        at("injected")
        during = eventually(fault, world, before, holds, PROVEN_S)
        proven_s = _since_s(world, started_ms)
        assert during.holds and (fault.transient or not during.absent), during
    finally:
        healing_ms = world.clock.now_ms()
        type(fault).heal(world, carried)
    healed_s = _since_s(world, healing_ms)
    at("healed")
    after = eventually(fault, world, before, absent)
    gone_s = _since_s(world, healing_ms)
    assert after.absent and (fault.transient or not after.holds), after
    type(fault).heal(world, carried)
    assert eventually(fault, world, before, absent).absent
    return Life(look_s, injected_s, proven_s, healed_s, gone_s)


def _since_s(world: World, began_ms: float) -> float:
    return (world.clock.now_ms() - began_ms) / 1000


def check_void(meant: Fault, miss: Miss, world: World) -> None:
    """Check that a fault that misses is never seen in force; the steps around it are those of a run."""
    before = eventually(meant, world, None, absent)
    assert before.absent, before
    undo = meant.prepare(world)
    try:
        with miss(meant, world, undo):
            for _ in range(LOOKS):
                seen = meant.observe(world, before)
                assert not seen.holds, seen
                world.clock.sleep_s(NAP_S)
    finally:
        type(meant).heal(world, undo)
    assert eventually(meant, world, before, absent).absent


def elsewhere(done: Fault) -> Miss:
    """A miss: `done` hits something else instead, and is seen in force there."""

    @contextmanager
    def missing(meant: Fault, world: World, undo: Any) -> Iterator[None]:
        before = eventually(done, world, None, absent)
        assert before.absent, before
        own = done.prepare(world)
        try:
            done.inject(world, own)
            seen = eventually(done, world, before, holds, PROVEN_S)
            assert seen.holds, f"the fault elsewhere did nothing: {seen}"
            yield
        finally:
            type(done).heal(world, own)
        assert eventually(done, world, before, absent).absent

    return missing


def check_missed(meant: Fault, done: Fault, world: World) -> None:
    """Check that `meant` is not proven while `done` hits something else, although every command succeeds."""
    check_void(meant, elsewhere(done), world)
