"""Two real stacks of stand-ins at once: started, killed, emptied, stopped, and nothing left."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from lab.errors import WorldError
from lab.host.machine.loop_device import attached, detach
from lab.host.machine.shell import Subprocesses
from lab.provision.images.image_specs import BuildSpec, ImageSpec, ImageUsed, load_images
from lab.provision.images.images import split
from lab.provision.images.parallel import run_all
from lab.provision.machine.engine import Engine, require_engine
from lab.provision.machine.packages import Packages
from lab.provision.machine.progress import silent
from lab.provision.stack import owned, stack
from lab.provision.stack.prepare import image_sources

pytestmark = pytest.mark.docker

STAND_INS = Path(__file__).parent / "stand_ins"
TARGET = STAND_INS / "target"
PROJECTS = ("lab-test-one", "lab-test-two")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return require_engine(Subprocesses())


@pytest.fixture(scope="module")
def images(engine: Engine) -> dict[str, ImageUsed]:
    """The real proxy and Prometheus, and stand-ins for store and target."""
    runner, progress = Subprocesses(), silent()
    known = load_images().images
    specs = [
        known["toxiproxy"],
        known["prometheus"],
        ImageSpec("qdrant", None, BuildSpec("stand-in-store", "plain", STAND_INS / "store")),
        ImageSpec("mcp", None, BuildSpec("stand-in-target", "plain", TARGET)),
    ]
    sources = image_sources(engine, "auto", runner, Packages(runner, progress))
    used, left_out = split(run_all(sources.tasks(specs), runner, progress))
    assert not left_out
    return used


@pytest.fixture
def two(images: dict[str, ImageUsed]) -> Iterator[list[stack.StackSpec]]:
    """The first as this machine can, the second with the volume that machines without root have."""
    first, second = (stack.plan_stack(project, TARGET, images, "free") for project in PROJECTS)
    specs = [first, replace(second, store_kind="plain")]
    try:
        for spec in specs:
            stack.start(spec)
        yield specs
    finally:
        for spec in specs:
            stack.stop(spec, volumes=True)


def _collections(spec: stack.StackSpec) -> list[str]:
    found: list[str] = httpx.get(spec.topology.address("qdrant_link", "/collections"), timeout=5).json()
    return found


def test_two_stacks_live_side_by_side(two: list[stack.StackSpec], engine: Engine) -> None:
    one, other = two
    assert not set(one.ports.values()) & set(other.ports.values())
    assert set(stack.status(one).values()) == {"running"}
    httpx.put(one.topology.address("qdrant", "/collections/mine"), json={}, timeout=5)
    assert (_collections(one), _collections(other)) == (["mine"], [])

    # A restart keeps ports and data; a saved stack is found again.
    owned.kill(engine, one.project, ["qdrant"])
    assert stack.status(one)["qdrant"] == "exited 137"
    stack.start(one)
    assert _collections(one) == ["mine"]
    assert stack.load(one.project) == one

    stack.reset_store(one)
    assert _collections(one) == []
    assert set(stack.status(other).values()) == {"running"}

    httpx.put(other.topology.address("qdrant", "/collections/theirs"), json={}, timeout=5)
    stack.reset_store(other)
    assert _collections(other) == []


def test_a_reboot_takes_neither_the_data_nor_anybody_elses_device(
    two: list[stack.StackSpec], engine: Engine, tmp_path: Path
) -> None:
    """After a reboot the engine still names a loop device that is gone, or shows another file by now."""
    one, runner = two[0], Subprocesses()
    httpx.put(one.topology.address("qdrant", "/collections/mine"), json={}, timeout=5)
    owned.kill(engine, one.project, stack.status(one))
    decoy = tmp_path / "somebody-elses.img"
    decoy.write_bytes(bytes(1024**2))
    if one.store_kind == "ext4":
        device = attached(one.volume.image)
        assert device is not None
        detach(one.volume.image, runner)
        runner.run(["losetup", device, str(decoy)], timeout_s=10).require("no decoy", try_="")
    try:
        stack.start(one)
        assert _collections(one) == ["mine"]
        stack.reset_store(one)
        assert _collections(one) == []
        assert decoy.read_bytes() == bytes(1024**2)
    finally:
        detach(decoy, runner)


def test_the_targets_environment_arrives_letter_by_letter(two: list[stack.StackSpec]) -> None:
    seen = httpx.get(two[0].topology.address("mcp", two[0].endpoint), timeout=5).json()
    assert {name: seen[name] for name in two[0].environment} == two[0].environment
    assert seen["QDRANT_URL"] == "http://toxiproxy:6333"


def test_a_start_that_fails_says_why_and_leaves_nothing(images: dict[str, ImageUsed], engine: Engine) -> None:
    spec = stack.plan_stack("lab-test-broken", TARGET, images, "free")
    spec = replace(spec, environment={"STAND_IN": "broken"})
    with pytest.raises(WorldError, match="told to break") as raised:
        stack.start(spec)
    assert "exited 1" in str(raised.value)
    assert owned.container_ids(engine, spec.project) == frozenset()
    assert not spec.volume.image.exists()
    stack.stop(spec, volumes=True)
    assert stack.load(spec.project) is None
