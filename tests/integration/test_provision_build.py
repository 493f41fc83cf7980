"""Building with the real engine: a build that fails leaves no name and no layers, one that succeeds no owner."""

from pathlib import Path

import pytest

from lab.errors import WorldError
from lab.host.labels import OWNER
from lab.host.machine.shell import Subprocesses
from lab.provision.images.image_build import build_image, image_id
from lab.provision.images.image_specs import BuildSpec
from lab.provision.machine.engine import Engine, require_engine
from lab.provision.machine.progress import silent

pytestmark = pytest.mark.docker

REF = "lab.local/build-test:0000"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return require_engine(Subprocesses())


def _build(engine: Engine, folder: Path) -> str:
    return build_image(BuildSpec("build-test", "plain", folder), REF, str, engine, Subprocesses(), silent())


def test_a_failing_build_is_quoted_and_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY file /file\nCOPY no-such-file /\n")
    client = engine.client()
    try:
        before = {image.id for image in client.images.list(all=True)}
        with pytest.raises(WorldError, match="no-such-file") as raised:
            _build(engine, tmp_path)
        assert "COPY" in raised.value.last_state
        assert image_id(client, REF) is None
        mine = [image for image in client.images.list(all=True) if image.id not in before and not image.tags]
        assert [image.id for image in mine if "COPY file" in str(image.history())] == []
    finally:
        client.close()


def test_containers_of_a_built_image_inherit_no_owner(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("y")
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch AS first\nCOPY file /a\nFROM scratch\nCOPY --from=first /a /b\n"
    )
    client = engine.client()
    try:
        built = _build(engine, tmp_path)
        assert image_id(client, REF) == built
        assert OWNER not in client.images.get(REF).labels
    finally:
        if image_id(client, REF):
            client.images.remove(REF, force=True)
        client.close()
