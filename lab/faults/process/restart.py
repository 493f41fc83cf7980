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

# The longest time of the engine's calls, without the grace period.
CALLS_S = 30.0
# The engine writes nanoseconds; a date holds microseconds.
STARTED = "s (Unix time of its start)"
DIGITS = len("2026-01-01T00:00:00.000000")


def started_s(started_at: str) -> float:
    """When a container was started, in seconds since 1970; 0 where the engine's text is not a date."""
    text = started_at.removesuffix("Z")[:DIGITS]
    try:
        return datetime.fromisoformat(f"{text}+00:00").timestamp()
    except ValueError:
        return 0.0


@dataclass(frozen=True, slots=True)
class Restart(Fault):
    """Sends SIGTERM, after `grace_s` SIGKILL if the process still runs, and starts the container at once.

    The effect passes by itself. The proof is that another process runs than before.
    """

    kind: ClassVar[str] = "restart"
    family: ClassVar[str] = "process"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")
    transient: ClassVar[bool] = True

    target: Service
    grace_s: Annotated[int, Ge(0), Le(30)] = 5

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """The main process, and all that ends with it."""
        return death(topology, self.target)

    @property
    def act_max_s(self) -> float:
        """The longest time in seconds of injection and heal: the grace period, and the calls around it."""
        return CALLS_S + self.grace_s

    def prepare(self, world: World) -> StartContainer:
        """Raises FaultError where the service does not run."""
        return StartContainer(service=self.target, container_id=living(world, self.target, "restarting").id)

    def inject(self, world: World, undo: StartContainer) -> None:
        """Restart only the container that was seen in `prepare`; returns once its new process exists."""
        world.containers.restart(undo.service, undo.container_id, self.grace_s)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """It has happened when the process was started later than the one before; it is over when that answers."""
        state = world.containers.state(self.target)
        began = started_s(state.started_at)
        answers = state.running and world.reach.answers(self.target, timeout_s=1.0)
        holds = before is not None and state.running and began > before.measured
        message = f"started {state.started_at}, {'answers' if answers else 'does not answer'}"
        return Observation(began, STARTED, holds, absent=answers, detail=message)

    @staticmethod
    def heal(world: World, undo: StartContainer) -> None:
        """Start the container if the restart stopped half-way; a container that runs is fine."""
        world.containers.start(undo.service, undo.container_id)


FAULT = Restart
