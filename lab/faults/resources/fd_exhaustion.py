"""Let a server run out of file descriptors, so that it cannot accept connections."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.faults.conflicts import CLIENTS
from lab.faults.proof import living
from lab.model.undo import RestoreOpenFiles
from lab.ports import Fault, Observation, World
from lab.ports.processes import LIFETIME_S, OpenFiles

BESIDES = 32
TIMEOUT_S = 0.7


@dataclass(frozen=True, slots=True)
class FdExhaustion(Fault):
    """Lowers the soft limit of open files of the server process to `spare` above its present use, then uses those up.

    Source of the mechanism: prlimit(2). The connections that use them up end by themselves after 30 min.
    """

    kind: ClassVar[str] = "fd_exhaustion"
    family: ClassVar[str] = "resources"
    services: ClassVar[tuple[str, ...]] = ("mcp", "qdrant")
    needs: ClassVar[tuple[str, ...]] = ("root",)
    resources: ClassVar[tuple[str, ...]] = (CLIENTS,)
    lifetime_s: ClassVar[float] = LIFETIME_S

    target: Literal["mcp", "qdrant"]
    spare: Annotated[int, Ge(1), Le(256)] = 8

    def prepare(self, world: World) -> RestoreOpenFiles:
        """Record the process that listens, and its limits."""
        state = living(world, self.target, "limiting")
        now = world.processes.open_files(world.containers, state)
        token = world.processes.new_token(self.kind)
        return RestoreOpenFiles(
            self.target, state.id, now.pid, now.pid_started, now.soft, now.hard, token=token
        )

    def inject(self, world: World, undo: RestoreOpenFiles) -> None:
        """Lower the limit, then connect until it is reached."""
        state = living(world, self.target, "limiting")
        now = world.processes.open_files(world.containers, state)
        limit = now.open + self.spare
        # Only the soft limit: to raise a hard limit again needs a capability (CAP_SYS_RESOURCE) that root may lack.
        limited = replace(
            now, pid=undo.pid, pid_started=undo.pid_started, soft=min(limit, undo.soft), hard=undo.hard
        )
        world.processes.limit_open_files(undo.container_id, limited)
        world.processes.connect(world.containers, state, undo.token, self.spare + BESIDES, LIFETIME_S)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when all descriptors are in use and a new request gets no answer, and got one before."""
        state = world.containers.state(self.target)
        if not state.running:
            return Observation(0.0, "descriptors left", holds=False, absent=False, detail="it does not run")
        now = world.processes.open_files(world.containers, state)
        answers = world.reach.answers(self.target, timeout_s=TIMEOUT_S)
        left = now.soft - now.open
        holds = before is not None and before.absent and left <= 0 and not answers
        # With 90 % of the descriptors that were left before, the limit is the old one: those in use come and go.
        absent = answers and left > 0 and (before is None or left >= 0.9 * before.measured)
        detail = (
            f"{now.open} open of {now.soft}; a new request is {'answered' if answers else 'not answered'}"
        )
        return Observation(left, "descriptors left", holds, absent, detail)

    @staticmethod
    def heal(world: World, undo: RestoreOpenFiles) -> None:
        """End the connections, then restore the limits; the limits of a process that has ended went with it."""
        world.processes.end(undo.token)
        files = OpenFiles(undo.pid, undo.pid_started, 0, undo.soft, undo.hard)
        world.processes.limit_open_files(undo.container_id, files)


FAULT = FdExhaustion
