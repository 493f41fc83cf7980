"""Restart a service through the engine, as an upgrade or an operator would."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import death
from lab.faults.process.proof import Service
from lab.faults.proof import living
from lab.model.scenario import Claim
from lab.model.topology import Topology
from lab.model.undo import StartContainer
from lab.ports import Fault, Observation, World

# What the engine's calls may take beside the grace.
CALLS_S = 30.0
# The engine writes nanoseconds; a date holds microseconds.
STARTED = "s (Unix time of its start)"
DIGITS = len("2026-01-01T00:00:00.000000")


def started_s(started_at: str) -> float:
    """When a container was started, in seconds since 1970; 0 where the engine's text says no date."""
    text = started_at.removesuffix("Z")[:DIGITS]
    try:
        return datetime.fromisoformat(f"{text}+00:00").timestamp()
    except ValueError:
        return 0.0


@dataclass(frozen=True, slots=True)
class Restart(Fault):
    """SIGTERM, SIGKILL for what has not ended after `grace_s`, and a start at once.

    The effect passes by itself: what is seen is that the process is another one than before.
    """

    kind: ClassVar[str] = "restart"
    family: ClassVar[str] = "process"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")
    transient: ClassVar[bool] = True

    target: Service
    grace_s: Annotated[int, Ge(0), Le(30)] = 5

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """Its life, and all that ends with it."""
        return death(topology, self.target)

    @property
    def act_max_s(self) -> float:
        """Seconds that its injection and heal may take: the grace, and the calls around it."""
        return CALLS_S + self.grace_s

    def prepare(self, world: World) -> StartContainer:
        """There must be something alive to restart."""
        return StartContainer(service=self.target, container_id=living(world, self.target, "restarting").id)

    def inject(self, world: World, undo: StartContainer) -> None:
        """Restart exactly the container that was seen in `prepare`; returns once its new process exists."""
        world.containers.restart(undo.service, undo.container_id, self.grace_s)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """It has happened when the process that runs was started later than the one before; over when it answers."""
        state = world.containers.state(self.target)
        began = started_s(state.started_at)
        answers = state.running and world.reach.answers(self.target, timeout_s=1.0)
        holds = before is not None and state.running and began > before.measured
        said = f"started {state.started_at}, {'answers' if answers else 'does not answer'}"
        return Observation(began, STARTED, holds, absent=answers, detail=said)

    @staticmethod
    def heal(world: World, undo: StartContainer) -> None:
        """Start it where the restart ended half-way; one that runs is fine."""
        world.containers.start(undo.service, undo.container_id)


FAULT = Restart
