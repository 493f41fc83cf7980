"""Two real stacks of stand-ins at once: started, killed, emptied, stopped, and nothing left."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.models.containers import Container

from lab.errors import WorldError
from lab.host.labels import owned as owned_labels
from lab.host.machine.loop_device import attached, detach
from lab.host.machine.shell import Subprocesses
from lab.host.proxy_variables import PROXY_VARIABLES
from lab.load.containers import K6Containers
from lab.provision.images.image_specs import BuildSpec, ImageSpec, ImageUsed, load_images
from lab.provision.images.images import split
from lab.provision.images.parallel import run_all
from lab.provision.machine.engine import Engine, require_engine
from lab.provision.machine.packages import Packages
from lab.provision.machine.progress import silent
from lab.provision.stack import owned, stack, store_content
from lab.provision.stack.kept_stores import DamagedCopy, KeptStores
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


@pytest.mark.parametrize("number", [0, 1], ids=["ext4", "plain"])
def test_a_store_is_copied_out_and_back_in_both_kinds_of_volumes(
    two: list[stack.StackSpec], engine: Engine, tmp_path: Path, number: int
) -> None:
    spec, runner = two[number], Subprocesses()
    stores = KeptStores(tmp_path)
    httpx.put(spec.topology.address("qdrant", "/collections/kept"), json={}, timeout=5)
    kept = stack.keep_store(spec, stores, "key", {})
    assert stack.status(spec)["qdrant"].startswith("exited")
    stack.start(spec)
    assert _collections(spec) == ["kept"]
    stack.reset_store(spec)
    httpx.put(spec.topology.address("qdrant", "/collections/later"), json={}, timeout=5)
    assert _collections(spec) == ["later"]

    stack.reset_store(spec, fill=store_content.copied_from(kept, stores))
    assert _collections(spec) == ["kept"]
    # Also into a stack that has been removed with its volume.
    stack.stop(spec, volumes=True)
    stack.reset_store(spec, fill=store_content.copied_from(kept, stores))
    assert _collections(spec) == ["kept"]
    # A second copy of it is the same, so nothing was lost on the way; a damaged one changes nothing.
    assert stack.keep_store(spec, stores, "again", {}).content.data_bytes > 0
    with kept.path.open("r+b") as file:
        file.write(b"damaged")
    with pytest.raises(DamagedCopy):
        stack.reset_store(spec, fill=store_content.copied_from(kept, stores))
    assert stores.find("key") is None
    stack.start(spec)
    assert _collections(spec) == ["kept"]
    assert runner.find("docker")


def test_a_target_with_files_of_its_own_is_not_kept_and_forgets_them_with_the_store(
    two: list[stack.StackSpec], engine: Engine, tmp_path: Path
) -> None:
    spec, stores = two[0], KeptStores(tmp_path)
    target = spec.topology.target.name
    assert owned.own_files(engine, spec.project, target) == []
    with owned.client_of(engine) as client:
        made = owned.container_of(client, spec.project, target).exec_run(["touch", "/state.db"])
        assert made.exit_code == 0, made.output
    with pytest.raises(WorldError, match="files of its own") as raised:
        stack.keep_store(spec, stores, "key", {})
    assert "/state.db" in str(raised.value)
    assert stores.find("key") is None
    stack.reset_store(spec)
    assert owned.own_files(engine, spec.project, target) == []


PROXIES = {"httpProxy": "http://proxy.invalid:3128", "httpsProxy": "http://proxy.invalid:3128"}
PROXIES |= {"noProxy": "example.org", "allProxy": "socks5://proxy.invalid:1080"}


@pytest.fixture
def proxied_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration of the Docker client that names proxies; the compose plugin stays where it was."""
    own = Path(os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")))
    config = tmp_path / "docker"
    config.mkdir()
    if (own / "cli-plugins").is_dir():
        (config / "cli-plugins").symlink_to(own / "cli-plugins")
    (config / "config.json").write_text(json.dumps({"proxies": {"default": PROXIES}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(config))


def _proxies_in(container: Any) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in container.attrs["Config"]["Env"] or [])
    return {name: value for name, _, value in pairs if name in PROXY_VARIABLES and value}


def test_no_container_of_the_lab_gets_the_proxies_of_the_docker_client(
    proxied_client: None,
    two: list[stack.StackSpec],
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = engine.client()
    try:
        # Negative control: this configuration does reach a container that does not refuse it.
        other = client.containers.create(two[0].images["mcp"].ref)
        try:
            other.reload()
            assert _proxies_in(other)["HTTP_PROXY"] == PROXIES["httpProxy"]
        finally:
            other.remove()
        of_the_stack = owned.containers_of(client, two[0].project)
        assert len(of_the_stack) == len(two[0].topology.names)
        assert {c.name: found for c in of_the_stack if (found := _proxies_in(c))} == {}
        load = K6Containers(
            client, two[0].images["mcp"].ref, two[0].project, two[0].project, tmp_path / "load"
        )
        load.input_folder.mkdir(parents=True)
        # The image has no k6, so the start fails; what the container is like is seen before that.
        seen: list[dict[str, str]] = []

        def start(container: Container) -> None:
            container.reload()
            seen.append(_proxies_in(container))

        monkeypatch.setattr(Container, "start", start)
        load.launch("0000", "normal.js", 1).remove()
        assert seen == [{}]
    finally:
        client.close()


def test_an_image_is_built_with_the_proxies_of_the_docker_client(
    proxied_client: None, engine: Engine
) -> None:
    """What a build fetches may need them; the image itself does not keep them."""
    runner, progress = Subprocesses(), silent()
    sources = image_sources(engine, "build", runner, Packages(runner, progress))
    spec = ImageSpec("qdrant", None, BuildSpec("stand-in-store", "plain", STAND_INS / "store"))
    used, _ = split(run_all(sources.tasks([spec]), runner, progress))
    client = engine.client()
    try:
        image = client.images.get(used["qdrant"].ref)
        assert not [entry for entry in image.attrs["Config"]["Env"] or [] if "proxy" in entry.lower()]
    finally:
        client.close()


def test_a_stack_in_a_network_with_ipv6_is_refused(two: list[stack.StackSpec], engine: Engine) -> None:
    spec = two[0]
    stack.start(spec)
    client = engine.client()
    assert client.networks.get(spec.project).attrs["EnableIPv6"] is False
    pool = docker.types.IPAMPool(subnet="fd00:1ab:1ab::/64")
    network = client.networks.create(
        f"{spec.project}-v6",
        labels=owned_labels(spec.project),
        enable_ipv6=True,
        ipam=docker.types.IPAMConfig(pool_configs=[pool]),
    )
    try:
        network.connect(owned.container_of(client, spec.project, "toxiproxy"))
        with pytest.raises(WorldError, match="global IPv6 addresses") as raised:
            stack.start(spec)
        assert "toxiproxy: fd00:1ab:1ab::" in str(raised.value)
    finally:
        owned.remove(engine, spec.project, ["toxiproxy"])
        network.remove()
        client.close()
