"""The store's volume: for root an ext4 file system in a file of its own, so that disk faults affect nothing else."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import docker
from docker.errors import APIError, NotFound

from lab.errors import WorldError
from lab.host.labels import OWNER, OWNER_VALUE, STACK, owned
from lab.host.machine.loop_device import SYS_BLOCK, attach, attached, detach, detach_below, mount_points
from lab.host.machine.shell import Runner, is_root
from lab.host.machine.state import state_dir
from lab.provision.machine.engine import Engine

Kind = Literal["ext4", "plain"]
SIZE_BYTES = 4 * 1024**3
TRIAL_BYTES = 1024**2
MKFS_TIMEOUT_S = 60.0
# Everything is written at once, because a lazy initialisation would write in the background while the lab measures. A
# small journal and one inode per 64 KiB keep this under 100 ms.
MKFS = ("mkfs.ext4", "-q", "-F", "-m", "0", "-i", "65536", "-J", "size=16")
EXTENDED = ("-E", "lazy_itable_init=0,lazy_journal_init=0")


@dataclass(frozen=True, slots=True)
class StoreVolume:
    """A volume: its name in the engine, its stack, and its kind."""

    name: str
    project: str
    kind: Kind

    @property
    def image(self) -> Path:
        """The file that holds the file system of an `ext4` volume."""
        return images_directory() / f"{self.name}.ext4"


def images_directory() -> Path:
    """The folder with the files of `ext4` volumes."""
    path = state_dir() / "volumes"
    path.mkdir(exist_ok=True)
    return path


def possible_kind(engine: Engine, runner: Runner) -> tuple[Kind, str]:
    """`ext4` if it works here, which is tried with a small file; else `plain`, and why."""
    if not is_root():
        return "plain", "a file system of its own for the store needs root"
    if not engine.is_local:
        return "plain", "the engine runs on another machine"
    if runner.find("mkfs.ext4") is None or runner.find("losetup") is None:
        return "plain", "mkfs.ext4 or losetup is missing (packages e2fsprogs and mount)"
    try:
        _try_loop_device(images_directory() / f"trial-{os.getpid()}", runner)
    except (WorldError, OSError) as error:
        return "plain", f"loop devices do not work here: {error}"
    return "ext4", ""


def _try_loop_device(trial: Path, runner: Runner) -> None:
    """Attach a small file and always detach it again, because a loop device outlives the deleted file."""
    with ExitStack() as after:
        after.callback(trial.unlink, missing_ok=True)
        after.callback(detach, trial, runner)
        _truncate(trial, TRIAL_BYTES)
        attach(trial, runner)


def ensure(volume: StoreVolume, engine: Engine, runner: Runner) -> bool:
    """Make the volume usable, also after a reboot or a crash; True if it is new.

    After a reboot the engine still has the volume with its old loop device, which is gone or shows another file by now.
    Then the volume is declared again; its content is in the image file and stays.
    """
    client = engine.client()
    try:
        known = _find(client, volume)
        if volume.kind == "plain":
            if known is None:
                client.volumes.create(volume.name, driver="local", labels=owned(volume.project))
            return known is None
        made = not volume.image.exists()
        if made:
            _make_image(volume, runner)
        device = attach(volume.image, runner)
        if known is not None and (known.attrs.get("Options") or {}).get("device") != device:
            _forget(client, volume)
            known = None
        if known is None:
            _declare(client, volume, device)
        return made
    finally:
        client.close()


def empty(volume: StoreVolume, runner: Runner) -> None:
    """Empty an `ext4` volume, which no container may use. Raises WorldError while it is mounted."""
    _format(Path(unmounted(volume, runner)), runner)


def replace(volume: StoreVolume, image: Path, runner: Runner) -> None:
    """Let `image` take the place of an `ext4` volume's file, which no container may use; `ensure` attaches it.

    Raises WorldError while the volume is mounted.
    """
    unmounted(volume, runner)
    detach(volume.image, runner)
    image.rename(volume.image)


def unmounted(volume: StoreVolume, runner: Runner) -> str:
    """The device of an `ext4` volume, whose file system is whole in its file. Raises WorldError while it is mounted."""
    device = attached(volume.image)
    if device is None:
        raise WorldError("the store's volume has no loop device", where=str(volume.image), try_="`lab up`")
    for point in mount_points(device):
        # The engine unmounts it when the last container stops; an engine that crashed leaves the mount behind.
        runner.run(["umount", point], timeout_s=MKFS_TIMEOUT_S)
    if mount_points(device):
        raise WorldError(
            "the store's volume is still in use and cannot be changed or copied",
            where=f"{device} ({volume.name})",
            last_state=f"mounted at {mount_points(device)[0]}",
            try_="`lab down`, then `lab up`",
        )
    return device


def remove(volume: StoreVolume, engine: Engine, runner: Runner) -> None:
    """Delete the volume, its loop device and its file; none is fine."""
    client = engine.client()
    try:
        if _find(client, volume) is not None:
            _forget(client, volume)
    finally:
        client.close()
    if is_root():
        detach(volume.image, runner)
    volume.image.unlink(missing_ok=True)


def remove_all_images(runner: Runner, sys_block: Path = SYS_BLOCK) -> list[str]:
    """Free the loop devices of all image files, also of deleted ones, and delete the files; returns the names."""
    freed = detach_below(images_directory(), runner, sys_block) if is_root() else []
    removed = [f"loop device {device}" for device in freed]
    for image in sorted(images_directory().iterdir()):
        image.unlink(missing_ok=True)
        removed.append(f"file {image.name}")
    return removed


def _find(client: docker.DockerClient, volume: StoreVolume) -> Any:
    try:
        found = client.volumes.get(volume.name)
    except NotFound:
        return None
    if (found.attrs.get("Labels") or {}).get(OWNER) != OWNER_VALUE:
        raise WorldError(
            f"a volume named {volume.name} exists, and it is not the lab's",
            where=volume.name,
            last_state=f"it has no label {OWNER}={OWNER_VALUE}",
            try_="choose another project name, or remove that volume yourself",
        )
    return found


def _forget(client: docker.DockerClient, volume: StoreVolume) -> None:
    """Remove the volume from the engine, and the stack's containers that use it, whether they run or not."""
    ours: dict[str, str | list[str] | bool] = {
        "volume": volume.name,
        "label": [f"{OWNER}={OWNER_VALUE}", f"{STACK}={volume.project}"],
    }
    for container in client.containers.list(all=True, filters=ours):
        container.remove(force=True)
    try:
        client.volumes.get(volume.name).remove()
    except APIError as error:
        raise WorldError(
            "the store's volume could not be removed",
            where=volume.name,
            last_state=str(error.explanation),
            try_=f"`docker ps -a --filter volume={volume.name}` shows what uses it",
        ) from error


def _declare(client: docker.DockerClient, volume: StoreVolume, device: str) -> None:
    options = {"type": "ext4", "device": device}
    client.volumes.create(volume.name, driver="local", driver_opts=options, labels=owned(volume.project))


def _make_image(volume: StoreVolume, runner: Runner) -> None:
    draft = volume.image.with_suffix(".draft")
    try:
        _truncate(draft, SIZE_BYTES)
        _format(draft, runner)
        draft.rename(volume.image)
    finally:
        draft.unlink(missing_ok=True)


def _truncate(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _format(path: Path, runner: Runner) -> None:
    runner.run([*MKFS, *EXTENDED, str(path)], timeout_s=MKFS_TIMEOUT_S).require(
        "the store's file system could not be made", where=str(path), try_="check the free disk space"
    )
