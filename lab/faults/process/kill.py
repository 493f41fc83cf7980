"""Kill a service's process with SIGKILL; the heal starts the same container again."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from lab.errors import FaultError
from lab.faults.conflicts import death
from lab.model.scenario import Claim
from lab.model.undo import StartContainer
from lab.ports import ContainerState, Fault, Observation, World

PROBES = 3
Service = Literal["qdrant", "mcp", "toxiproxy"]


def living(world: World, service: str, act: str) -> ContainerState:
    """The state of a service that runs and is not paused; raises FaultError where the act would prove nothing."""
    state = world.containers.state(service)
    if not state.running or state.paused:
        said = "is paused" if state.paused else f"does not run (exit code {state.exit_code})"
        raise FaultError(
            f"{service} {said}, so {act} it would prove nothing",
            where=state.name,
            try_="`lab up`, then look at the container's log",
        )
    return state


def lifeless(world: World, service: str, before: Observation | None, ignored: str) -> Observation:
    """In force when the container does not run and none of several requests past the proxies is answered."""
    state = world.containers.state(service)
    answered = sum(world.reach.answers(service, timeout_s=1.0) for _ in range(PROBES))
    holds = before is not None and not state.running and answered == 0
    absent = state.running and answered == PROBES
    detail = (
        f"container runs{ignored}" if state.running else f"container is dead (exit code {state.exit_code})"
    )
    return Observation(answered / PROBES, "share of health requests answered", holds, absent, detail)


@dataclass(frozen=True, slots=True)
class Kill(Fault):
    """Sends SIGKILL to the container's first process and leaves it dead until healed.

    The clock of recovery starts when the start is *issued*, so that a slow start counts against the target.
    """

    kind: ClassVar[str] = "kill"
    family: ClassVar[str] = "process"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp", "toxiproxy")

    target: Service

    @property
    def occupies(self) -> frozenset[Claim]:
        """Its life, and all that ends with it."""
        return death(self.target)

    def prepare(self, world: World) -> StartContainer:
        """There must be something alive to kill."""
        state = living(world, self.target, "killing")
        return StartContainer(service=self.target, container_id=state.id)

    def inject(self, world: World, undo: StartContainer) -> None:
        """Kill exactly the container that was seen in `prepare`."""
        world.containers.kill(undo.service, undo.container_id)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when nothing runs and nothing answers past the proxies."""
        return lifeless(world, self.target, before, "")

    @staticmethod
    def heal(world: World, undo: StartContainer) -> None:
        """Start the killed container, which returns once its process exists; one that runs already is fine."""
        world.containers.start(undo.service, undo.container_id)


FAULT = Kill
