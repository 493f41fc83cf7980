"""Kill a service's process with SIGKILL; the heal starts the same container again."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from lab.errors import FaultError
from lab.model.undo import StartContainer
from lab.ports import Observation, World

PROBES = 3


@dataclass(frozen=True, slots=True)
class Kill:
    """Sends SIGKILL to the container's first process and leaves it dead until healed.

    The clock of recovery starts when the start is *issued*, so that a slow start counts against the target.
    """

    kind: ClassVar[str] = "kill"
    family: ClassVar[str] = "process"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp")
    needs: ClassVar[tuple[str, ...]] = ()

    target: Literal["qdrant", "mcp"]

    def prepare(self, world: World) -> StartContainer:
        """There must be something alive to kill."""
        state = world.containers.state(self.target)
        if not state.running:
            raise FaultError(
                f"{self.target} does not run, so killing it would prove nothing",
                where=state.name,
                last_state=f"exit code {state.exit_code}",
                try_="`lab up`, then look at the container's log",
            )
        return StartContainer(service=self.target, container_id=state.id)

    def inject(self, world: World, undo: StartContainer) -> None:
        """Kill exactly the container that was seen in `prepare`."""
        world.containers.kill(undo.service, undo.container_id)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when the container does not run and none of several requests past the proxies is answered."""
        state = world.containers.state(self.target)
        answered = sum(world.reach.answers(self.target, timeout_s=1.0) for _ in range(PROBES))
        holds = before is not None and not state.running and answered == 0
        absent = state.running and answered == PROBES
        detail = f"container {'runs' if state.running else f'is dead (exit code {state.exit_code})'}"
        return Observation(answered / PROBES, "share of health requests answered", holds, absent, detail)

    @staticmethod
    def heal(world: World, undo: StartContainer) -> None:
        """Start the killed container, which returns once its process exists; one that runs already is fine."""
        world.containers.start(undo.service, undo.container_id)


FAULT = Kill
