"""Images: the pinned list, the hash that names what is built, and the order of sources."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, NotFound

from lab import repository
from lab.errors import ScenarioError, WorldError
from lab.provision.images import base_image, images
from lab.provision.images.build_context import content_hash, context_files, write_context
from lab.provision.images.image_specs import BuildSpec, ImageSpec, ImageUsed, load_images, target_image
from lab.provision.images.images import Images, LeftOut
from lab.provision.images.registry import DEFAULT_HOST, Registry, host_of
from lab.provision.images.wheels import missing_wheels
from lab.provision.machine.progress import silent
from tests.pure.provision_fakes import FakeRunner


def test_the_list_of_images_is_complete_and_pinned() -> None:
    file = load_images()
    assert set(file.images) == {"qdrant", "toxiproxy", "prometheus", "k6", "grafana"}
    assert [name for name, image in file.images.items() if image.optional] == ["grafana"]
    for image in file.images.values():
        if image.build:
            assert image.build.folder.is_relative_to(repository.COMPOSE)


@pytest.mark.parametrize("ref", ["qdrant/qdrant", "qdrant/qdrant:latest", "localhost:5000/qdrant"])
def test_a_tag_that_moves_is_refused(tmp_path: Path, ref: str) -> None:
    path = tmp_path / "images.yaml"
    path.write_text(
        f"base: {{registry: 'a:1', suite: s, packages: []}}\nimages: {{q: {{registry: '{ref}'}}}}"
    )
    with pytest.raises(ScenarioError, match="pinned tag") as raised:
        load_images(path)
    assert raised.value.where.startswith(f"{path}:2:")


@pytest.mark.parametrize("text", ["", "[]", "base: 3", "{", "images: {}"])
def test_a_broken_list_is_a_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "images.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as raised:
        load_images(path)
    assert raised.value.where.startswith(f"{path}:1")


@pytest.fixture
def build(tmp_path: Path) -> BuildSpec:
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    (tmp_path / "server.py").write_text("print()\n")
    return BuildSpec("thing", "plain", tmp_path)


def test_the_content_hash_is_stable(build: BuildSpec) -> None:
    first = content_hash(build, "base:1")
    (build.folder / "__pycache__").mkdir()
    (build.folder / "__pycache__" / "server.pyc").write_text("cached")
    (build.folder / "target.yaml").write_text("endpoint: /mcp")
    (build.folder / "server.py").touch()
    assert content_hash(build, "base:1") == first


CHANGES: dict[str, Callable[[Path], Any]] = {
    "a file's content": lambda folder: (folder / "server.py").write_text("print(1)\n"),
    "a new file": lambda folder: (folder / "more.py").write_text(""),
    "a name": lambda folder: (folder / "server.py").rename(folder / "serve.py"),
    "the executable bit": lambda folder: (folder / "server.py").chmod(0o755),
    "the Dockerfile": lambda folder: (folder / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n\n"
    ),
    "a byte moved to another file": lambda folder: [
        (folder / "server.py").write_text("print()"),
        (folder / "t.py").write_text("\n"),
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_content_hash_sees(build: BuildSpec, change: str) -> None:
    first = content_hash(build, "base:1")
    CHANGES[change](build.folder)
    assert content_hash(build, "base:1") != first


def test_the_content_hash_sees_base_and_recipe(build: BuildSpec) -> None:
    first = content_hash(build, "base:1")
    assert content_hash(build, "base:2") != first
    assert content_hash(replace(build, recipe="wheels"), "base:1") != first
    (build.folder / "Dockerfile").write_text("FROM scratch\n")
    assert content_hash(build, "base:1") == content_hash(build, "base:2"), (
        "an image without the base ignores it"
    )


def test_the_context_is_the_same_bytes_whatever_the_clock(
    build: BuildSpec, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("out")
    write_context(out / "one.tar", build.folder, {"wheels/x.whl": build.folder / "server.py"})
    (build.folder / "server.py").touch()
    write_context(out / "two.tar", build.folder, {"wheels/x.whl": build.folder / "server.py"})
    assert (out / "one.tar").read_bytes() == (out / "two.tar").read_bytes()
    assert context_files(build.folder) == ["Dockerfile", "server.py"]


def test_a_target_without_a_dockerfile_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="no Dockerfile"):
        target_image(tmp_path)


def test_a_registry_that_fails_is_asked_once_and_another_one_still() -> None:
    asked = []

    def ask(ref: str) -> str:
        asked.append(ref)
        if host_of(ref) == "ghcr.io":
            return "sha256:1"
        raise APIError("no such host")

    registry = Registry(ask)
    assert [registry.digest(ref) for ref in ("a/b:1", "c/d:1", "ghcr.io/e/f:1", "python:3")] == [
        None,
        None,
        "sha256:1",
        None,
    ]
    assert asked == ["a/b:1", "ghcr.io/e/f:1"]
    assert "no such host" in registry.why_silent("python:3")


def test_a_registry_without_the_image_is_not_silent() -> None:
    def ask(ref: str) -> str:
        raise NotFound("manifest unknown")

    registry = Registry(ask)
    assert registry.digest("a/b:1") is None
    assert registry.why_silent("a/b:1") == ""


@pytest.mark.parametrize(
    ("ref", "host"),
    [
        ("qdrant/qdrant:v1", DEFAULT_HOST),
        ("python:3.11", DEFAULT_HOST),
        ("ghcr.io/a/b:1", "ghcr.io"),
        ("localhost/b:1", "localhost"),
    ],
)
def test_the_host_of_a_reference(ref: str, host: str) -> None:
    assert host_of(ref) == host


class Engine:
    """An engine that has some images, by reference."""

    def __init__(self, has: dict[str, str]) -> None:
        self.has = has

    def client(self) -> "Engine":
        return self

    def close(self) -> None:
        pass


def _images(
    monkeypatch: pytest.MonkeyPatch, mode: Any, has: dict[str, str], offers: dict[str, str]
) -> Images:
    """The real decisions, over an engine that has and a registry that offers these images."""
    engine: Any = Engine(has)

    def ask(ref: str) -> str:
        if ref in offers:
            return offers[ref]
        raise APIError("no such host")

    def build(spec: BuildSpec, ref: str, base: Callable[[], str], *rest: Any) -> str:
        base()
        has[ref] = "sha256:built"
        return has[ref]

    monkeypatch.setattr(images, "local_digest", lambda client, ref: has.get(ref))
    monkeypatch.setattr(images, "image_id", lambda client, ref: has.get(ref))
    monkeypatch.setattr(images, "pull", lambda client, ref, progress: None)
    monkeypatch.setattr(images, "build_image", build)
    base: Any = type("Base", (), {"ref": lambda self: "base:1", "ensure": lambda self: "base:1"})()
    return Images(mode, engine, Registry(ask), base, FakeRunner(), silent())


def test_sources_in_order(monkeypatch: pytest.MonkeyPatch, build: BuildSpec) -> None:
    spec = ImageSpec("store", "a/b:1", build)
    local = _images(monkeypatch, "auto", {"a/b:1": "sha256:l"}, {"a/b:1": "sha256:r"}).provide(spec)
    assert local == ImageUsed("store", "a/b:1", "sha256:l", "local")
    pulled = _images(monkeypatch, "auto", {}, {"a/b:1": "sha256:r"}).provide(spec)
    assert pulled == ImageUsed("store", "a/b:1", "sha256:r", "registry")
    built = _images(monkeypatch, "auto", {}, {}).provide(spec)
    assert isinstance(built, ImageUsed)
    assert (built.source, built.digest) == ("built", "sha256:built")
    assert built.ref.startswith("lab.local/thing:")
    forced = _images(monkeypatch, "build", {"a/b:1": "sha256:l"}, {"a/b:1": "sha256:r"}).provide(spec)
    assert isinstance(forced, ImageUsed)
    assert forced.source == "built"


def test_nothing_unchanged_is_built_again(monkeypatch: pytest.MonkeyPatch, build: BuildSpec) -> None:
    has: dict[str, str] = {}
    sources = _images(monkeypatch, "auto", has, {})
    first = sources.provide(ImageSpec("store", None, build))
    monkeypatch.setattr(images, "build_image", lambda *arguments: pytest.fail("built again"))
    assert sources.provide(ImageSpec("store", None, build)) == first


def test_what_cannot_be_had(monkeypatch: pytest.MonkeyPatch, build: BuildSpec) -> None:
    left_out = _images(monkeypatch, "auto", {}, {}).provide(ImageSpec("grafana", "g/g:1", None))
    assert isinstance(left_out, LeftOut)
    assert "no such host" in left_out.why
    with pytest.raises(WorldError, match="registry"):
        _images(monkeypatch, "registry", {}, {}).provide(ImageSpec("store", "a/b:1", build))


def test_too_little_room_is_said_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, build: BuildSpec
) -> None:
    monkeypatch.setattr(images, "FREE_BYTES_MIN", 10**18)
    sources = _images(monkeypatch, "auto", {}, {})
    engine: Any = type("E", (), {"root_directory": "/"})()
    sources.room = lambda: images.require_room(engine)
    monkeypatch.setattr(images, "build_image", lambda *arguments: pytest.fail("built all the same"))
    with pytest.raises(WorldError, match="disk space"):
        sources.provide(ImageSpec("store", None, build))


def test_the_mirror_is_the_machines_own_and_only_on_debian() -> None:
    mirror = "http://mirror.example/debian"
    one_line = f"# deb http://old.example/debian bookworm main\ndeb [arch=amd64] {mirror} bookworm main\n"
    deb822 = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n"
    security = "deb http://mirror.example/debian-security bookworm-security main\n"
    for text in (one_line, deb822, security + one_line):
        assert base_image.debian_mirror([text], {"ID": "debian"}) == "http://mirror.example/debian"
        assert base_image.debian_mirror([text], {"ID": "ubuntu"}) is None
    assert base_image.debian_mirror([security], {"ID": "debian"}) is None


def test_a_wheel_that_pip_left_out_is_noticed() -> None:
    pins = ("orjson==3.1", "qdrant-edge-py==0.9.0", "pywin32==1 ; sys_platform == 'win32'")
    lock = "".join(f"{pin} \\\n    --hash=sha256:a\n" for pin in pins)
    assert missing_wheels(lock, ["orjson-3.1-cp311-none.whl", "qdrant_edge_py-0.9.0-abi3.whl"]) == []
    assert missing_wheels(lock, ["orjson-3.1-cp311-none.whl"]) == ["qdrant-edge-py"]
