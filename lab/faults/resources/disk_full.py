"""Fill the file system that holds a service's data, and no other."""

import uuid
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lab.faults.conflicts import DISK
from lab.faults.resources.proof import running
from lab.model.undo import RemoveFiller
from lab.ports import Fault, Observation, World

KIB = 1024
BEYOND_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class DiskFull(Fault):
    """Leaves `free_kib` free on the store's own file system; refused where that is the host's."""

    kind: ClassVar[str] = "disk_full"
    family: ClassVar[str] = "resources"
    services: ClassVar[tuple[str, ...]] = ("qdrant",)
    needs: ClassVar[tuple[str, ...]] = ("store_ext4", "root")
    resources: ClassVar[tuple[str, ...]] = (DISK,)
    # The filler of a service that does not run is removed through a separate mount, which takes longer.
    act_max_s: ClassVar[float] = 60.0

    target: Literal["qdrant"]
    free_kib: Annotated[int, Ge(0), Le(131_072)] = 0

    def prepare(self, world: World) -> RemoveFiller:
        """Choose a file name that is free; raises FaultError where the file system is the host's own."""
        state = running(world, self.target, "its disk cannot be filled")
        world.storage.device(self.target)
        return RemoveFiller(self.target, state.id, f".lab-filler-{uuid.uuid4().hex}")

    def inject(self, world: World, undo: RemoveFiller) -> None:
        """Allocate the free space, without writing to it."""
        world.storage.fill(undo.service, undo.container_id, undo.name, self.free_kib * KIB)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """Ask for a little more space than `free_kib`: in force when there is none, and there was before."""
        if not world.containers.state(self.target).running:
            return Observation(
                0.0, "KiB free", holds=False, absent=False, detail="the container does not run"
            )
        asked = self.free_kib * KIB + BEYOND_BYTES
        room = world.storage.can_allocate(self.target, asked)
        free = world.storage.free_bytes(self.target)
        detail = f"a write of {asked // KIB} KiB {'succeeded' if room else 'found no space left'}"
        holds = before is not None and before.absent and not room and free < asked
        return Observation(free / KIB, "KiB free", holds, absent=room, detail=detail)

    @staticmethod
    def heal(world: World, undo: RemoveFiller) -> None:
        """Remove the filler file, also where the container does not run or was replaced."""
        world.storage.remove_filler(undo.service, undo.container_id, undo.name)


FAULT = DiskFull
