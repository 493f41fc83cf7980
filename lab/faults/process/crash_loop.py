"""Kill a service again and again, as if it crashed soon after each start."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from lab.faults.conflicts import death
from lab.faults.process.proof import Service
from lab.faults.proof import living
from lab.model.scenario import Claim
from lab.model.topology import Topology
from lab.model.undo import StartContainer
from lab.ports import Fault, Observation, World
from lab.ports.processes import LIFETIME_S

WINDOW = 2.5
STEP_S = 0.05
# Two restarts, because a single one is another fault. The window is long enough for two kills. Once the first restart
# is seen, the window grows, because a busy machine may take long to start the container again.
RESTARTS = 2
SLOW_START_S = 5.0
LATE_S, ANSWER_S = 0.3, 1.0


@dataclass(frozen=True, slots=True)
class CrashLoop(Fault):
    """Kills the container with SIGKILL every `every_s` and starts it at once, until healed (at most 30 min)."""

    kind: ClassVar[str] = "crash_loop"
    family: ClassVar[str] = "process"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")
    lifetime_s: ClassVar[float] = LIFETIME_S

    target: Service
    every_s: Annotated[float, Ge(1), Le(30)] = 3.0

    def occupies(self, topology: Topology) -> frozenset[Claim]:
        """The main process, and all that ends with it."""
        return death(topology, self.target)

    @property
    def look_max_s(self) -> float:
        """The longest time in seconds that one observation may take: the longest window, and one request."""
        return WINDOW * self.every_s + SLOW_START_S + STEP_S + ANSWER_S

    def prepare(self, world: World) -> StartContainer:
        """Raises FaultError where the service does not run."""
        state = living(world, self.target, "killing")
        return StartContainer(self.target, state.id, world.processes.new_token(self.kind))

    def inject(self, world: World, undo: StartContainer) -> None:
        """Start the process that kills; it acts only on the container that was seen in `prepare`."""
        state = living(world, self.target, "killing")
        world.processes.crash(world.containers, state, undo.token, self.every_s, LIFETIME_S)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """Count the restarts for as long as two kills take: in force when two are seen, absent when none is."""
        began_ms = world.clock.now_ms()
        starts = {world.containers.state(self.target).started_at}
        window_s = WINDOW * self.every_s
        while len(starts) <= RESTARTS and world.clock.now_ms() < began_ms + window_s * 1000:
            world.clock.sleep_s(STEP_S)
            starts.add(world.containers.state(self.target).started_at)
            if len(starts) == RESTARTS:
                window_s = WINDOW * self.every_s + SLOW_START_S
        restarts = len(starts) - 1
        answers = world.reach.answers(self.target, timeout_s=ANSWER_S)
        holds = before is not None and restarts >= RESTARTS
        return Observation(restarts, "restarts seen", holds, absent=restarts == 0 and answers)

    @staticmethod
    def heal(world: World, undo: StartContainer) -> None:
        """End the process that kills, then start the container, and once more after a kill that was under way."""
        if undo.token and world.processes.end(undo.token):
            world.containers.start(undo.service, undo.container_id)
            world.clock.sleep_s(LATE_S)
        world.containers.start(undo.service, undo.container_id)


FAULT = CrashLoop
