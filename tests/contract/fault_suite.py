"""What every fault owes, whatever world it acts in: absent, inject, holds, heal, absent, heal again."""

import time
from collections.abc import Callable

from lab.model.undo import UndoRecord, from_json, to_json
from lab.ports import Fault, Observation, World

SETTLE_S = 20.0


def eventually(
    fault: Fault, world: World, before: Observation, wanted: Callable[[Observation], bool]
) -> Observation:
    """Observe until what is wanted is seen, for at most 20 s of real time; returns the last observation."""
    end = time.monotonic() + SETTLE_S
    seen = fault.observe(world, before)
    while not wanted(seen) and time.monotonic() < end:
        world.clock.sleep_s(0.5)
        seen = fault.observe(world, before)
    return seen


def check_life_cycle(fault: Fault, world: World) -> None:
    """A fault's whole life; the undo travels as JSON, as it would to another process."""
    before = fault.observe(world, None)
    assert before.absent and not before.holds, before
    undo = fault.prepare(world)
    record = UndoRecord("run", "f1", fault.kind, "project", 1, 1.0, undo)
    carried = from_json(to_json(record)).undo
    try:
        fault.inject(world, undo)
        during = eventually(fault, world, before, lambda seen: seen.holds)
        assert during.holds and (fault.transient or not during.absent), during
    finally:
        type(fault).heal(world, carried)
    after = eventually(fault, world, before, lambda seen: seen.absent)
    assert after.absent and (fault.transient or not after.holds), after
    type(fault).heal(world, carried)
    assert eventually(fault, world, before, lambda seen: seen.absent).absent


def check_missed(meant: Fault, done: Fault, world: World) -> None:
    """A fault that hits something else: each command succeeds, and the proof of the one that was meant must not."""
    before, mended = meant.observe(world, None), done.observe(world, None)
    undo = done.prepare(world)
    try:
        done.inject(world, undo)
        assert eventually(done, world, mended, lambda seen: seen.holds).holds, (
            "the fault elsewhere did nothing"
        )
        seen = meant.observe(world, before)
        assert not seen.holds, seen
    finally:
        type(done).heal(world, undo)
    assert eventually(done, world, mended, lambda seen: seen.absent).absent
