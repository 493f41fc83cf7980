"""Images from a registry: a small one on this machine, which the real engine asks and pulls from."""

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab.host.machine.shell import Subprocesses
from lab.provision.images.image_build import image_id
from lab.provision.images.image_specs import BuildSpec, ImageSpec, ImageUsed
from lab.provision.images.images import Images, LeftOut
from lab.provision.machine.engine import Engine, require_engine
from lab.provision.machine.packages import Packages
from lab.provision.machine.progress import Progress, ProgressEvent
from lab.provision.stack.prepare import image_sources

pytestmark = pytest.mark.docker

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar"
CONFIG = "application/vnd.docker.container.image.v1+json"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _layer() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("hello")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"world"))
    return buffer.getvalue()


@dataclass
class SmallRegistry:
    """One image under `small:1`, by Docker's registry protocol; `broken` has lost the layer."""

    broken: bool = False
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        layer = _layer()
        rootfs = {"type": "layers", "diff_ids": [_digest(layer)]}
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
        parts = [(CONFIG, config), (LAYER, layer)]
        first, second = (
            {"mediaType": kind, "size": len(data), "digest": _digest(data)} for kind, data in parts
        )
        value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": first, "layers": [second]}
        self.manifest = json.dumps(value).encode()
        self.layer_digest = _digest(layer)
        self.blobs = {_digest(data): data for _, data in parts}
        self.blobs[_digest(self.manifest)] = self.manifest

    def find(self, path: str) -> tuple[bytes, str] | None:
        """Body and type of an answer, or None for 404."""
        self.asked.append(path)
        if path == "/v2/":
            return b"{}", "application/json"
        if path == "/v2/small/manifests/1":
            return self.manifest, MANIFEST
        name = path.rpartition("/")[2]
        data = None if self.broken and name == self.layer_digest else self.blobs.get(name)
        return (data, MANIFEST if "manifests" in path else "application/octet-stream") if data else None


@pytest.fixture
def registry() -> Iterator[tuple[SmallRegistry, str]]:
    content = SmallRegistry()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, *, body: bool) -> None:
            found = content.find(self.path)
            data, kind = found or (
                b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}',
                "application/json",
            )
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Docker-Content-Digest", _digest(data))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield content, f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return require_engine(Subprocesses())


def _sources(engine: Engine, seen: list[ProgressEvent]) -> Images:
    runner = Subprocesses()
    return image_sources(engine, "auto", runner, Packages(runner, Progress(seen.append)))


@pytest.fixture
def fallback(tmp_path: Path) -> BuildSpec:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n")
    (tmp_path / "file").write_text("built")
    return BuildSpec("registry-test", "plain", tmp_path)


def _forget(engine: Engine, *refs: str) -> None:
    client = engine.client()
    for ref in refs:
        if image_id(client, ref):
            client.images.remove(ref, force=True)
    client.close()


def test_an_image_is_pulled_once_and_then_local(
    registry: tuple[SmallRegistry, str], engine: Engine, fallback: BuildSpec
) -> None:
    content, host = registry
    ref = f"{host}/small:1"
    spec = ImageSpec("small", ref, fallback)
    digest = _digest(content.manifest)
    try:
        assert _sources(engine, []).provide(spec) == ImageUsed("small", ref, digest, "registry")
        asked = len(content.asked)
        assert _sources(engine, []).provide(spec) == ImageUsed("small", ref, digest, "local")
        assert len(content.asked) == asked, "what the engine has is not asked for"
    finally:
        _forget(engine, ref)


def test_a_tag_that_the_registry_lacks_is_built_or_left_out(
    registry: tuple[SmallRegistry, str], engine: Engine, fallback: BuildSpec
) -> None:
    _, host = registry
    sources = _sources(engine, [])
    built = sources.provide(ImageSpec("small", f"{host}/small:2", fallback))
    assert isinstance(built, ImageUsed)
    try:
        assert built.source == "built"
        left_out = sources.provide(ImageSpec("other", f"{host}/other:1", None))
        assert left_out == LeftOut("other", f"the registry did not give {host}/other:1")
    finally:
        _forget(engine, built.ref)


def test_a_registry_that_breaks_off_leaves_nothing_half_pulled(
    registry: tuple[SmallRegistry, str], engine: Engine, fallback: BuildSpec
) -> None:
    content, host = registry
    content.broken = True
    ref, seen = f"{host}/small:1", list[ProgressEvent]()
    used = _sources(engine, seen).provide(ImageSpec("small", ref, fallback))
    assert isinstance(used, ImageUsed)
    try:
        assert used.source == "built"
        assert any(event.kind == "note" and "could not be pulled" in event.step for event in seen)
        client = engine.client()
        assert image_id(client, ref) is None
        client.close()
    finally:
        _forget(engine, used.ref, ref)
