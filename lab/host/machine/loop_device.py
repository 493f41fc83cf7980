"""Loop devices, which show a file as a block device: finding, attaching and freeing them."""

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.errors import WorldError
from lab.host.machine.shell import Runner

# include/uapi/linux/loop.h
LOOP_CTL_GET_FREE = 0x4C82
LOOP_MAJOR = 7
TRIES_MAX = 5
TIMEOUT_S = 20.0
SYS_BLOCK = Path("/sys/block")
# The kernel adds this to the path of an attached file that was deleted.
DELETED = " (deleted)"


def attached(image: Path, sys_block: Path = SYS_BLOCK) -> str | None:
    """The loop device that shows `image`, or None.

    A device that shows a deleted file of the same name does not count, because its content is different.
    """
    return next(iter(_showing(str(image.resolve()), sys_block)), None)


def _showing(shown: str, sys_block: Path) -> list[str]:
    """The loop devices that show the file with this path; the kernel reports paths without symlinks."""
    return [device for device, file in _backed(sys_block) if file == shown]


def _backed(sys_block: Path) -> Iterator[tuple[str, str]]:
    """Every loop device that shows a file, and the path of the file as the kernel reports it."""
    for backing in sorted(sys_block.glob("loop*/loop/backing_file")):
        try:
            # Files of other programs are among them, and a path need not be UTF-8.
            file = os.fsdecode(backing.read_bytes()).removesuffix("\n")
        except OSError:
            # The device was freed since it was listed.
            continue
        yield f"/dev/{backing.parent.parent.name}", file


def attach(image: Path, runner: Runner) -> str:
    """The loop device that shows `image`; it is attached if necessary, and a missing device node is created."""
    found = attached(image)
    if found:
        _make_node(found, int(found.removeprefix("/dev/loop")))
        return found
    last_state = "no loop device was free"
    for _ in range(TRIES_MAX):
        number = _free_number(runner)
        device = f"/dev/loop{number}"
        _make_node(device, number)
        done = runner.run(["losetup", device, str(image)], timeout_s=TIMEOUT_S)
        if done.ok:
            return device
        # Another program took the same free device meanwhile: ask again.
        last_state = done.tail()
    raise WorldError(
        "no loop device for the store's volume",
        where=str(image),
        last_state=last_state,
        try_="`losetup -a` shows who holds them; `lab down --all` frees the lab's own",
    )


def detach(image: Path, runner: Runner, sys_block: Path = SYS_BLOCK) -> None:
    """Free the loop devices that show `image`, also if it was deleted; none is fine."""
    path = str(image.resolve())
    _free([*_showing(path, sys_block), *_showing(path + DELETED, sys_block)], str(image), runner)


def detach_below(folder: Path, runner: Runner, sys_block: Path = SYS_BLOCK) -> list[str]:
    """Free the loop devices that show files of a folder, deleted ones too; returns the devices."""
    inside = folder.resolve()
    # The kernel marks a deleted file at the end of its path, so the folder is still right.
    devices = [device for device, file in _backed(sys_block) if inside in Path(file).parents]
    _free(devices, f"a file in {folder}", runner)
    return devices


def _free(devices: Sequence[str], shown: str, runner: Runner) -> None:
    """Free all devices, then raise WorldError for the first that could not be freed."""
    done = [runner.run(["losetup", "--detach", device], timeout_s=TIMEOUT_S) for device in devices]
    for device, outcome in zip(devices, done, strict=True):
        outcome.require(
            "a loop device could not be freed",
            where=f"{device} for {shown}",
            try_=f"`losetup --detach {device}`",
        )


def _free_number(runner: Runner) -> int:
    control = Path("/dev/loop-control")
    if not control.exists():
        runner.run(["modprobe", "loop"], timeout_s=TIMEOUT_S)
    try:
        with control.open("rb") as file:
            return fcntl.ioctl(file, LOOP_CTL_GET_FREE)
    except OSError as error:
        raise WorldError(
            "this kernel gives no loop devices",
            where=str(control),
            last_state=str(error),
            try_="`modprobe loop`; where that is not allowed the lab uses a plain volume",
        ) from error


def _make_node(device: str, number: int) -> None:
    if not Path(device).exists():
        os.mknod(device, 0o660 | stat.S_IFBLK, os.makedev(LOOP_MAJOR, number))


def mount_points(device: str) -> list[str]:
    """The mount points of a device, the latest first."""
    lines = os.fsdecode(Path("/proc/self/mounts").read_bytes()).splitlines()
    return [line.split()[1] for line in reversed(lines) if line.split()[:1] == [device]]
