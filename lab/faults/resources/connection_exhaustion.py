"""Hold many idle connections to a server, as clients do that leak connections."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.faults.conflicts import CLIENTS
from lab.faults.proof import living
from lab.model.undo import EndProcesses
from lab.ports import Fault, Observation, World
from lab.ports.processes import LIFETIME_S

# A server may close idle connections, which are then opened again, and the service's own connections come and go.
HELD, LEFT = 0.9, 0.1


@dataclass(frozen=True, slots=True)
class ConnectionExhaustion(Fault):
    """Holds `connections` idle TCP connections to the server, from inside its network namespace.

    They end by themselves after 30 min. Whether requests are still answered is recorded, but is not part of the proof.
    """

    kind: ClassVar[str] = "connection_exhaustion"
    family: ClassVar[str] = "resources"
    services: ClassVar[tuple[str, ...]] = ("mcp", "qdrant")
    needs: ClassVar[tuple[str, ...]] = ("root",)
    resources: ClassVar[tuple[str, ...]] = (CLIENTS,)
    lifetime_s: ClassVar[float] = LIFETIME_S

    target: Literal["mcp", "qdrant"]
    connections: Annotated[int, Ge(100), Le(16_000)] = 1000

    def prepare(self, world: World) -> EndProcesses:
        """Raises FaultError where the service does not run."""
        living(world, self.target, "connecting to")
        return EndProcesses(world.processes.new_token(self.kind))

    def inject(self, world: World, undo: EndProcesses) -> None:
        """Start the process that holds the connections; returns once every connect has begun."""
        state = living(world, self.target, "connecting to")
        world.processes.connect(world.containers, state, undo.token, self.connections, LIFETIME_S)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when the server has as many more established connections than before as the fault promises."""
        state = world.containers.state(self.target)
        if not state.running:
            return Observation(0.0, "connections", holds=False, absent=False, detail="it does not run")
        now = world.processes.connection_count(world.containers, state)
        grown = now - (now if before is None else before.measured)
        answers = world.reach.answers(self.target, timeout_s=1.0)
        detail = f"{grown:g} more than before; a new request is {'answered' if answers else 'not answered'}"
        holds = before is not None and grown >= HELD * self.connections
        absent = grown <= LEFT * self.connections and answers
        return Observation(now, "connections", holds, absent, detail)

    @staticmethod
    def heal(world: World, undo: EndProcesses) -> None:
        """End the process that holds the connections, which closes them."""
        world.processes.end(undo.token)


FAULT = ConnectionExhaustion
