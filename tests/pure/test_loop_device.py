"""Which loop device shows an image, read from a tree as the kernel's sysfs has it."""

from pathlib import Path

import pytest

from lab.host.machine import loop_device
from lab.host.machine.state import state_dir
from tests.pure.provision_fakes import FakeRunner


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A symlink to the directory in which the images lie."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    return tmp_path / "link"


def sysfs(folder: Path, **shown: str) -> Path:
    """`/sys/block` with the files that its loop devices show; loop0 is free, and sda none."""
    for name in ("loop0", "sda", *shown):
        (folder / "block" / name).mkdir(parents=True)
    for name, file in shown.items():
        (folder / "block" / name / "loop").mkdir()
        (folder / "block" / name / "loop" / "backing_file").write_text(f"{file}\n", encoding="utf-8")
    return folder / "block"


def test_an_image_behind_a_symlink_is_found_and_freed(linked: Path, tmp_path: Path) -> None:
    real = tmp_path / "real" / "v.ext4"
    block, losetup = sysfs(tmp_path, loop3=f"{real}.other", loop7=str(real)), FakeRunner({"losetup"})
    assert loop_device.attached(linked / "v.ext4", block) == "/dev/loop7"
    assert loop_device.attached(real, block) == "/dev/loop7"
    assert loop_device.attached(linked / "w.ext4", block) is None
    loop_device.detach(linked / "v.ext4", losetup, block)
    assert losetup.ran == [["losetup", "--detach", "/dev/loop7"]]


def test_what_shows_a_deleted_image_is_freed_and_never_used(tmp_path: Path) -> None:
    image = tmp_path / "v.ext4"
    block, losetup = sysfs(tmp_path, loop1=f"{image} (deleted)", loop2=str(image)), FakeRunner({"losetup"})
    assert loop_device.attached(image, block) == "/dev/loop2"
    loop_device.detach(image, losetup, block)
    assert losetup.ran == [["losetup", "--detach", f"/dev/loop{number}"] for number in (2, 1)]


def test_the_state_directory_has_no_symlink_in_its_path(
    linked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_STATE_DIR", str(linked / "state"))
    assert state_dir() == (tmp_path / "real" / "state").resolve()
    assert state_dir().is_dir()
