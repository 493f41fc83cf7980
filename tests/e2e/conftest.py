"""Fixtures of the end-to-end tests; everything here runs on real containers."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest

from lab.provision.images.image_specs import ImageUsed
from lab.provision.stack import stack
from lab.provision.stack.kept_stores import KIND
from tests.e2e import stacks


@pytest.fixture(scope="session", autouse=True)
def stores_apart() -> Iterator[None]:
    """What these tests keep has a place of its own, also in the commands that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KIND, "tests")
        yield


@pytest.fixture(scope="session")
def used_images() -> Mapping[str, ImageUsed]:
    """Every image of the stack, got or built once."""
    return stacks.images()


@pytest.fixture(scope="session")
def client(used_images: Mapping[str, ImageUsed]) -> docker.DockerClient:
    """The engine, which `used_images` has started where it was not running."""
    return docker.from_env()


@pytest.fixture(scope="session")
def real_stack(used_images: Mapping[str, ImageUsed]) -> Iterator[stack.StackSpec]:
    """One stack with the real target, shared by tests that leave it healthy."""
    with stacks.ephemeral_stack(used_images) as spec:
        yield spec


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder for run directories."""
    return tmp_path / "runs"
