"""Ephemeral stacks for end-to-end tests: own project names, free ports, gone afterwards."""

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lab.provision.images.image_specs import ImageUsed
from lab.provision.machine.progress import silent
from lab.provision.stack import stack
from lab.provision.stack.prepare import prepare

HOME = Path(__file__).resolve().parents[2]
TARGET = HOME / "compose" / "targets" / "workspace-qdrant-mcp"
REFERENCE = HOME / "compose" / "targets" / "reference"


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


@contextmanager
def ephemeral_stack(used: Mapping[str, ImageUsed], target: Path = TARGET) -> Iterator[stack.StackSpec]:
    """A running stack of its own; its containers, network and volumes go with the test."""
    spec = stack.plan_stack(f"lab-test-{secrets.token_hex(3)}", target, used, "free")
    try:
        stack.start(spec, silent())
        yield spec
    finally:
        stack.stop(spec, volumes=True)
