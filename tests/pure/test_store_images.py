"""The loop devices of the store's images are freed, whatever became of the images: a fake sysfs, no root needed."""

import os
from functools import partial
from pathlib import Path

import pytest

from lab.errors import WorldError
from lab.host.machine import loop_device
from lab.host.machine.shell import Runner
from lab.provision.machine.engine import Engine
from lab.provision.stack import store_volume
from tests.pure.provision_fakes import FakeRunner

LOCAL = Engine("unix:///var/run/docker.sock", "29.0", "1.50", "/var/lib/docker")


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the images lie, for a lab that is root."""
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(store_volume, "is_root", lambda: True)
    return store_volume.images_directory()


@pytest.fixture
def block(tmp_path: Path) -> Path:
    """`/sys/block` without loop devices that show anything."""
    (tmp_path / "block" / "loop0").mkdir(parents=True)
    return tmp_path / "block"


def show(block: Path, device: str, file: str | bytes) -> None:
    backing = block / device / "loop" / "backing_file"
    backing.parent.mkdir(parents=True)
    backing.write_bytes(os.fsencode(file) + b"\n")


def freed(runner: FakeRunner) -> list[str]:
    return [command[-1] for command in runner.ran if command[:2] == ["losetup", "--detach"]]


def test_all_images_and_their_devices_go_also_those_of_deleted_images(images: Path, block: Path) -> None:
    (images / "one_store.ext4").touch()
    (images / "never-attached.ext4").touch()
    show(block, "loop1", f"{images}/one_store.ext4")
    show(block, "loop2", f"{images}/two_store.ext4 (deleted)")
    show(block, "loop3", f"{images}/trial-77 (deleted)")
    runner = FakeRunner({"losetup"})
    removed = store_volume.remove_all_images(runner, block)
    assert freed(runner) == ["/dev/loop1", "/dev/loop2", "/dev/loop3"]
    assert removed[-2:] == ["file never-attached.ext4", "file one_store.ext4"]
    assert not list(images.iterdir())


@pytest.mark.parametrize(
    "file",
    [
        "/var/lib/snapd/snaps/core.snap",
        "{images}",
        "{images}-of-somebody-else/v.ext4",
        "{images} (deleted)",
        "{images}/../v.ext4.elsewhere (deleted)",
        "/mnt{images}/v.ext4",
        b"/mnt/\xff\xfe.img",
    ],
)
def test_the_devices_of_other_files_are_left_alone(images: Path, block: Path, file: str | bytes) -> None:
    named = file if isinstance(file, bytes) else os.path.normpath(file.replace("{images}", str(images)))
    show(block, "loop1", named)
    runner = FakeRunner({"losetup"})
    assert store_volume.remove_all_images(runner, block) == []
    assert runner.ran == []


def test_a_user_who_is_not_root_frees_nothing(
    images: Path, block: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_volume, "is_root", lambda: False)
    show(block, "loop1", f"{images}/v.ext4")
    runner = FakeRunner({"losetup"})
    assert store_volume.remove_all_images(runner, block) == []
    assert runner.ran == []


def test_a_device_that_stays_is_named_and_does_not_keep_the_others(images: Path, block: Path) -> None:
    for number in (1, 2):
        show(block, f"loop{number}", f"{images}/v{number}.ext4 (deleted)")
    runner = FakeRunner(fails={"losetup": "busy"})
    with pytest.raises(WorldError, match="could not be freed") as caught:
        store_volume.remove_all_images(runner, block)
    assert freed(runner) == ["/dev/loop1", "/dev/loop2"]
    assert "/dev/loop1" in caught.value.where


def test_a_device_that_is_freed_while_it_is_looked_at_is_no_failure(images: Path, block: Path) -> None:
    # Listed, and not to be read.
    (block / "loop1" / "loop" / "backing_file").mkdir(parents=True)
    show(block, "loop2", f"{images}/v.ext4")
    assert loop_device.attached(images / "v.ext4", block) == "/dev/loop2"


def trying(monkeypatch: pytest.MonkeyPatch, block: Path, after: BaseException | None) -> None:
    """Let `attach` show the file as loop5, and then fail where `after` is an error."""

    def attach(image: Path, runner: Runner) -> str:
        show(block, "loop5", str(image))
        if after is not None:
            raise after
        return "/dev/loop5"

    monkeypatch.setattr(store_volume, "attach", attach)
    monkeypatch.setattr(store_volume, "detach", partial(loop_device.detach, sys_block=block))


PROGRAMS = {"losetup", "mkfs.ext4"}


@pytest.mark.parametrize(
    ("after", "kind"), [(None, "ext4"), (WorldError("too late"), "plain"), (OSError("mknod"), "plain")]
)
def test_the_trial_frees_its_device_once(
    images: Path, block: Path, monkeypatch: pytest.MonkeyPatch, after: Exception | None, kind: str
) -> None:
    trying(monkeypatch, block, after)
    runner = FakeRunner(set(PROGRAMS))
    assert store_volume.possible_kind(LOCAL, runner)[0] == kind
    assert freed(runner) == ["/dev/loop5"]
    assert not list(images.iterdir())


def test_ctrl_c_in_the_trial_leaves_no_device(
    images: Path, block: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trying(monkeypatch, block, KeyboardInterrupt())
    runner = FakeRunner(set(PROGRAMS))
    with pytest.raises(KeyboardInterrupt):
        store_volume.possible_kind(LOCAL, runner)
    assert freed(runner) == ["/dev/loop5"]
    assert not list(images.iterdir())


def test_a_device_that_the_trial_could_not_free_is_freed_with_all_others(
    images: Path, block: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trying(monkeypatch, block, None)
    kind, why = store_volume.possible_kind(LOCAL, FakeRunner(set(PROGRAMS), fails={"losetup": "busy"}))
    assert kind == "plain" and "could not be freed" in why
    assert not list(images.iterdir())
    # What the kernel says from now on.
    backing = block / "loop5" / "loop" / "backing_file"
    backing.write_text(f"{backing.read_text().strip()} (deleted)\n")
    runner = FakeRunner({"losetup"})
    store_volume.remove_all_images(runner, block)
    assert freed(runner) == ["/dev/loop5"]
