"""The file system of a service's data, reached through its container, or through its device if that is dead."""

import errno
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from lab.errors import FaultError, GoneError
from lab.host.audit import Audit, unaudited
from lab.host.cgroups.cgroup_files import read_throttle, write_throttle
from lab.host.cgroups.cgroups import own_directory, run_job
from lab.host.machine.loop_device import attached
from lab.host.system_errors import as_fault_error
from lab.ports import Containers
from lab.ports.storage import Throttle

FILLER = ".lab-filler-"
PROBE_BYTES = 1 << 20
REMOVE_TIMEOUT_S = 30.0
DEAD = "`lab status` says whether the service runs"
# The mount exists only in the namespace of this command: if the command dies, the kernel removes the mount.
_REMOVE_FROM_DEVICE = 'mount -t ext4 -o "$4" "$1" "$2" && rm -f -- "$2/$3" && umount "$2"'


class HostStorage:
    """Implements `lab.ports.Storage`; this needs root.

    `folders` gives the data folder inside the container of each service, `images` the file behind its device. `host`
    are folders of the machine, whose file systems are never touched.
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
        """Bytes that are free for processes without privileges."""
        with self._data(service) as folder:
            found = os.statvfs(folder)
            return found.f_bavail * found.f_frsize

    def device(self, service: str) -> str:
        """The block device that holds the data; raises FaultError where it belongs to the host."""
        with self._data(service) as folder:
            number = folder.stat().st_dev
            own = {path.stat().st_dev for path in self._host if path.exists()}
        name = f"{os.major(number)}:{os.minor(number)}"
        if number in own or not Path(f"/sys/dev/block/{name}/loop").is_dir():
            raise FaultError(
                f"{service} keeps its data on a file system of the host",
                where=f"device {name}",
                try_="`lab doctor` says why the store has no file system of its own (store_ext4)",
            )
        return name

    def throttle(self, service: str, device: str) -> Throttle:
        """The block device limits in force, as the kernel has them."""
        directory = own_directory(self._containers, service, "blkio")
        with as_fault_error(f"the disk limits of {service} cannot be read", where=str(directory), try_=DEAD):
            return read_throttle(directory, device)

    def set_throttle(self, service: str, container_id: str, device: str, throttle: Throttle) -> None:
        """Set the limits of a running container on a device to absolute values; 0 lifts a limit."""
        directory = own_directory(self._containers, service, "blkio", container_id)
        self._audit("given block device limits", service, f"{device} {throttle}")
        write_throttle(directory, device, throttle)

    def io_seconds(
        self,
        service: str,
        act: Literal["read", "write"],
        block_bytes: int,
        blocks: int,
        *,
        inside: bool = True,
    ) -> float:
        """Seconds that `blocks` O_DIRECT operations take in a process of the lab, in the service's cgroup or not."""
        with self._data(service) as folder:
            directory = own_directory(self._containers, service, "blkio") if inside else None
            return float(run_job("disk", directory, folder, act, block_bytes, blocks))

    def can_allocate(self, service: str, size_bytes: int) -> bool:
        """True if a nameless file of this size can be allocated, and written at its end."""
        with self._data(service) as folder:
            handle = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
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
        """Leave at most `leave_bytes` free, with a filler file whose name belongs to one fault."""
        self._require_same(service, container_id)
        self.device(service)
        with self._data(service) as folder:
            path = self._filler(folder, name)
            self._audit("file system filled", service, f"{name}, {leave_bytes} bytes left free")
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            try:
                self._grow(handle, service, leave_bytes)
            finally:
                os.close(handle)

    def remove_filler(self, service: str, container_id: str, name: str) -> None:
        """Remove the filler file; one that is gone already is fine.

        This works if the container is dead or was replaced, because the file lies on the volume and its name is unique.
        Raises GoneError where the volume was removed too.
        """
        self._audit("filler removed", service, name)
        try:
            running = self._containers.state(service).running
        except GoneError:
            running = False
        if not running:
            self._remove_from_device(service, name)
            return
        with self._data(service) as folder:
            self._filler(folder, name).unlink(missing_ok=True)

    def _grow(self, handle: int, service: str, leave_bytes: int) -> None:
        """Allocate the free bytes in ever smaller pieces, because the file system needs some of them for itself."""
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
                # A failed call keeps what it did allocate: go on from the end of the file.
                size = os.fstat(handle).st_size
                piece //= 2

    def _remove_from_device(self, service: str, name: str) -> None:
        """Remove the filler through a mount of its own, because no container shows the file system any more."""
        image = self._images.get(service)
        if image is None:
            raise FaultError(
                f"{service} is dead, and the lab does not know on which device its data lies",
                where=name,
                try_=f"start {service} (`lab up`), then `lab heal`",
            )
        if not image.exists():
            raise GoneError(f"the volume of {service} was removed, and the filler with it", where=str(image))
        failed = f"the filler could not be removed from {service}'s device"
        # After a restart of the machine no loop device shows the file: `mount` makes one for as long as it lasts.
        device, options = attached(image), "rw"
        if device is None:
            device, options = str(image), "loop"
        name = self._filler(Path(), name).name
        shell = ["sh", "-c", _REMOVE_FROM_DEVICE, "remove", device, str(image.parent), name, options]
        asked = ["unshare", "--mount", "--propagation", "private", "--", *shell]
        with as_fault_error(failed, where=device, try_=f"start {service} and `lab heal`"):
            done = subprocess.run(
                asked, capture_output=True, text=True, errors="replace", timeout=REMOVE_TIMEOUT_S, check=False
            )
        if done.returncode != 0:
            raise FaultError(
                failed,
                where=device,
                last_state=f"exit {done.returncode}: {done.stderr.strip()}",
                try_=f"start {service} and `lab heal`",
            )

    def _filler(self, folder: Path, name: str) -> Path:
        if not name.startswith(FILLER) or "/" in name:
            raise FaultError(
                f"{name!r} is not the name of a filler file of the lab",
                where=str(folder),
                try_="nothing: other files are left alone",
            )
        return folder / name

    def _require_same(self, service: str, container_id: str) -> None:
        state = self._containers.state(service)
        if state.id != container_id:
            raise GoneError(
                f"{service} is no longer the same container; somebody replaced it", where=state.name
            )

    @contextmanager
    def _data(self, service: str) -> Iterator[Path]:
        """The data folder, reached through the container's first process; what goes wrong there is a FaultError.

        The process is checked to be in that very container, so that no folder of the host is ever touched.
        """
        if service not in self._folders:
            raise FaultError(
                f"the lab does not know where {service} keeps its data",
                last_state=f"known: {', '.join(sorted(self._folders)) or 'no service'}",
                try_="aim a disk fault at a store",
            )
        own_directory(self._containers, service, "memory")
        state = self._containers.state(service)
        folder = Path(f"/proc/{state.pid}/root{self._folders[service]}")
        with as_fault_error(f"the data folder of {service} cannot be used", where=str(folder), try_=DEAD):
            yield folder
