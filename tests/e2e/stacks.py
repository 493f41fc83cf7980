"""Ephemeral stacks for end-to-end tests: own project names, free ports, gone afterwards."""

import io
import secrets
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import docker

from lab.provision.images.image_specs import ImageUsed
from lab.provision.machine.progress import silent
from lab.provision.stack import stack
from lab.provision.stack.prepare import prepare

HOME = Path(__file__).resolve().parents[2]
TARGET = HOME / "compose" / "targets" / "workspace-qdrant-mcp"
REFERENCE = HOME / "compose" / "targets" / "reference"
STAND_IN = Path(__file__).resolve().parent / "stand_in"
SERVER = [
    "/opt/venv/bin/workspace-qdrant-mcp",
    "--transport",
    "http",
    "--host",
    "127.0.0.1",
    "--port",
    "8001",
]


def images(target: Path = TARGET) -> Mapping[str, ImageUsed]:
    """Every image of the stack with a target, by default the real one; installs and builds what is missing."""
    return prepare(target, silent()).images


def reference_target(folder: Path, **environment: str) -> Path:
    """A copy of the reference target in `folder` with more variables, such as `REFERENCE_DEFECT="wrong_ids"`."""
    copy = Path(shutil.copytree(REFERENCE, folder / REFERENCE.name))
    settings = (copy / "target.yaml").read_text(encoding="utf-8")
    added = "".join(f'  {name}: "{value}"\n' for name, value in environment.items())
    changed = settings.replace("environment:\n", f"environment:\n{added}", 1)
    (copy / "target.yaml").write_text(changed, encoding="utf-8")
    return copy


def with_defect(
    client: docker.DockerClient, used: Mapping[str, ImageUsed], defect: str
) -> Mapping[str, ImageUsed]:
    """The same images, but a target with one planted defect (see `stand_in/proxy.py`)."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        archive.add(STAND_IN / "proxy.py", "proxy.py")
        text = (STAND_IN / "Dockerfile").read_text(encoding="utf-8")
        text += f'ENV STAND_IN_DEFECT={defect} STAND_IN_SERVER="{chr(0x1F).join(SERVER)}"\n'
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(text.encode())
        archive.addfile(info, io.BytesIO(text.encode()))
    tag = f"lab.local/stand-in:{defect.replace('_', '-')}"
    context.seek(0)
    image, _ = client.images.build(
        fileobj=context,
        custom_context=True,
        tag=tag,
        buildargs={"TARGET_IMAGE": used["mcp"].ref},
        rm=True,
    )
    return {**used, "mcp": replace(used["mcp"], ref=tag, digest=str(image.id))}


@contextmanager
def ephemeral_stack(used: Mapping[str, ImageUsed], target: Path = TARGET) -> Iterator[stack.StackSpec]:
    """A running stack of its own; its containers, network and volumes go with the test."""
    spec = stack.plan_stack(f"lab-test-{secrets.token_hex(3)}", target, used, "free")
    try:
        stack.start(spec, silent())
        yield spec
    finally:
        stack.stop(spec, volumes=True)
