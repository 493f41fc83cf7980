"""Healing what dead runs left behind, around a command that needs a machine without faults."""

from collections.abc import Iterator
from contextlib import contextmanager

from lab.guard import leftovers
from lab.guard.heal import FAILED, UNREADABLE, Healed, require_healed
from lab.observe.clock import RunClock
from lab.ports import Progress


def heal_now(progress: Progress) -> list[Healed]:
    """Heal what dead runs left, as far as that is possible now, and say what became of each fault."""
    healed = leftovers.heal_leftovers(RunClock())
    for result in healed:
        progress.say(result.line)
    return healed


def heal_first(progress: Progress) -> None:
    """Heal what dead runs left before anything else is done; raises LabError where a fault remains."""
    require_healed(heal_now(progress))


@contextmanager
def healing_around(progress: Progress) -> Iterator[None]:
    """Heal leftovers before the command; where something remained, heal once more afterwards.

    For commands that start or remove the containers which a pending heal needs.
    """
    remained = any(result.outcome in (FAILED, UNREADABLE) for result in heal_now(progress))
    yield
    if remained:
        heal_first(progress)
