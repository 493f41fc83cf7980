"""The file system on which a service keeps its data, through its container, or through its device when that is dead."""

import errno
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from lab.errors import FaultError, GoneError
from lab.host.audit import Audit, unaudited
from lab.host.cgroups.cgroup_files import read_throttle, write_throttle
from lab.host.cgroups.cgroups import own_directory, run_job
from lab.host.machine.loop_device import attached
from lab.ports import Containers
from lab.ports.storage import Throttle

FILLER = ".lab-filler-"
PROBE_BYTES = 1 << 20
REMOVE_TIMEOUT_S = 30.0
# The mount lives in a namespace of this command's own: should it die, the kernel takes the mount away with it.
_REMOVE_APART = 'mount -t ext4 -o "$4" "$1" "$2" && rm -f -- "$2/$3" && umount "$2"'


class HostStorage:
    """Implements `lab.ports.Storage`, which needs root.

    `folders` says where in a container each service keeps its data, `images` the file behind the device it lies on.
    `host` are folders of the machine's own, whose file systems are never touched.
    """

    def __init__(
        self,
        containers: Containers,
        folders: Mapping[str, str],
        images: Mapping[str, Path] | None = None,
        audit: Audit = unaudited,
        host: tuple[Path, ...] = (Path("/"), Path("/var/lib/docker")),
    ) -> None:
        self._containers, self._folders, self._audit = containers, folders, audit
        self._images, self._host = images or {}, host

    def free_bytes(self, service: str) -> int:
        """Bytes that are free for anybody."""
        found = os.statvfs(self._folder(service))
        return found.f_bavail * found.f_frsize

    def device(self, service: str) -> str:
        """The block device that really holds the data; raises FaultError where that is one of the host's own."""
        number = self._folder(service).stat().st_dev
        name = f"{os.major(number)}:{os.minor(number)}"
        own = {folder.stat().st_dev for folder in self._host if folder.exists()}
        if number in own or not Path(f"/sys/dev/block/{name}/loop").is_dir():
            raise FaultError(
                f"{service} keeps its data on a file system of the host's own",
                where=f"device {name}",
                try_="`lab doctor` says why the store has no file system of its own (store_ext4)",
            )
        return name

    def throttle(self, service: str, device: str) -> Throttle:
        """The limits in force, read back from the kernel."""
        return read_throttle(own_directory(self._containers, service, "blkio"), device)

    def set_throttle(self, service: str, container_id: str, device: str, throttle: Throttle) -> None:
        """Limit a running container on a device, absolutely; a limit of 0 is lifted."""
        directory = own_directory(self._containers, service, "blkio", container_id)
        self._audit("given block device limits", service, f"{device} {throttle}")
        write_throttle(directory, device, throttle)

    def seconds_for(
        self,
        service: str,
        act: Literal["read", "write"],
        block_bytes: int,
        blocks: int,
        *,
        inside: bool = True,
    ) -> float:
        """How long so many direct reads or writes take a process of the lab's own, in the service's cgroup or not."""
        folder = self._folder(service)
        directory = own_directory(self._containers, service, "blkio") if inside else None
        return float(run_job("disk", directory, folder, act, block_bytes, blocks))

    def room_for(self, service: str, size_bytes: int) -> bool:
        """Whether a file without a name can be had of this size, and written at its end."""
        handle = os.open(self._folder(service), os.O_TMPFILE | os.O_RDWR, 0o600)
        try:
            os.posix_fallocate(handle, 0, max(1, size_bytes - PROBE_BYTES))
            wrote = os.pwrite(handle, b"\xa5" * PROBE_BYTES, size_bytes)
            os.fsync(handle)
            return wrote == PROBE_BYTES
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False
        finally:
            os.close(handle)

    def fill(self, service: str, container_id: str, name: str, leave_bytes: int) -> None:
        """Leave no more than so many bytes free, with a file of a name of the lab's own."""
        self._require_same(service, container_id)
        self.device(service)
        path = self._filler(self._folder(service), name)
        self._audit("file system filled", service, f"{name}, {leave_bytes} bytes left free")
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            self._grow(handle, service, leave_bytes)
        finally:
            os.close(handle)

    def remove_filler(self, service: str, container_id: str, name: str) -> None:
        """Remove the filler, also when the container is dead or another: it lies on the volume, under a unique name.

        One that is gone already is fine. Raises GoneError where the volume was removed too.
        """
        self._audit("filler removed", service, name)
        try:
            running = self._containers.state(service).running
        except GoneError:
            running = False
        if running:
            self._filler(self._folder(service), name).unlink(missing_ok=True)
        else:
            self._remove_apart(service, name)

    def _grow(self, handle: int, service: str, leave_bytes: int) -> None:
        """Allocate what is free in ever smaller pieces, for the file system needs some of it for itself."""
        size, piece = 0, 1 << 40
        while piece >= 4096:
            piece = min(piece, self.free_bytes(service) - leave_bytes)
            if piece < 4096:
                return
            try:
                os.posix_fallocate(handle, size, piece)
                size += piece
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                # What a failed call did allocate stays: go on from the end of the file.
                size = os.fstat(handle).st_size
                piece //= 2

    def _remove_apart(self, service: str, name: str) -> None:
        image = self._images.get(service)
        if image is None:
            raise FaultError(f"{service} is dead, and the lab does not know on which device its data lies")
        if not image.exists():
            raise GoneError(f"the volume of {service} was removed, and the filler with it", where=str(image))
        # After a restart of the machine no device shows the file: `mount` makes one for as long as it lasts.
        device, options = attached(image), "rw"
        if device is None:
            device, options = str(image), "loop"
        name = self._filler(Path(), name).name
        shell = ["sh", "-c", _REMOVE_APART, "remove", device, str(image.parent), name, options]
        asked = ["unshare", "--mount", "--propagation", "private", "--", *shell]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=REMOVE_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise FaultError(
                f"the filler could not be removed from {service}'s device",
                where=device,
                last_state=f"exit {done.returncode}: {done.stderr.strip()}",
                try_=f"start {service} and `lab heal`",
            )

    def _filler(self, folder: Path, name: str) -> Path:
        if not name.startswith(FILLER) or "/" in name:
            raise FaultError(f"{name!r} is not the name of a filler of the lab's")
        return folder / name

    def _require_same(self, service: str, container_id: str) -> None:
        state = self._containers.state(service)
        if state.id != container_id:
            raise GoneError(
                f"{service} is no longer the same container; somebody replaced it", where=state.name
            )

    def _folder(self, service: str) -> Path:
        """The data's folder through the container's first process, seen to be that container's own."""
        if service not in self._folders:
            raise FaultError(
                f"the lab does not know where {service} keeps its data", try_="a disk fault on qdrant"
            )
        own_directory(self._containers, service, "memory")
        return Path(f"/proc/{self._containers.state(service).pid}/root{self._folders[service]}")
