"""`compose/images.yaml` as values: for each service the pinned reference and the recipe that builds a stand-
in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter

from lab.errors import WorldError
from lab.read.compose_file import read_topology
from lab.read.strict_yaml import checked, read
from lab.repository import IMAGES_FILE, ROOT

Source = Literal["local", "registry", "built"]
Mode = Literal["auto", "registry", "build"]
Recipe = Literal["plain", "wheels", "go"]


@dataclass(frozen=True, slots=True)
class ImageUsed:
    """An image as it is used: `digest` is the registry's, or the image id of one that was built or loaded
    here.
    """

    service: str
    ref: str
    digest: str
    source: Source


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """How to build an image: `wheels` adds the wheels of the folder's locked requirements to the context,
    `go` a binary.
    """

    name: str
    recipe: Recipe
    folder: Path
    go_package: str = ""


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """One service's image; without `build` it exists only where a registry answers."""

    service: str
    registry: str | None
    build: BuildSpec | None

    @property
    def optional(self) -> bool:
        """Left out, and said so, where it cannot be had."""
        return self.build is None


@dataclass(frozen=True, slots=True)
class BaseSpec:
    """What images are built on: a pinned reference, or a minimal Debian with these packages."""

    registry: str
    suite: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImagesFile:
    """All of `compose/images.yaml`."""

    base: BaseSpec
    images: Mapping[str, ImageSpec]


def _pinned(ref: str) -> str:
    """A reference must have a tag that names a version, because `latest` moves."""
    _, colon, tag = ref.rpartition(":")
    if not colon or "/" in tag or tag == "latest":
        raise ValueError("must be a reference with a pinned tag, such as name:1.2.3")
    return ref


_Pinned = Annotated[str, AfterValidator(_pinned)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _BaseShape(_Strict):
    registry: _Pinned
    suite: str
    packages: list[str]


class _BuildShape(_Strict):
    name: str
    recipe: Recipe
    folder: str
    go_package: str = ""


class _ImageShape(_Strict):
    registry: _Pinned
    build: _BuildShape | None = None


class _FileShape(_Strict):
    base: _BaseShape
    images: dict[str, _ImageShape]


_FILE = TypeAdapter(_FileShape)


def load_images(path: Path = IMAGES_FILE) -> ImagesFile:
    """Read and check the list of images; raises ScenarioError, with file and line, where it is wrong."""
    found = checked(read(path), _FILE)
    base = BaseSpec(found.base.registry, found.base.suite, tuple(found.base.packages))
    return ImagesFile(base, {service: _image(service, shape) for service, shape in found.images.items()})


def _image(service: str, shape: _ImageShape) -> ImageSpec:
    build = shape.build
    if build is None:
        return ImageSpec(service, shape.registry, None)
    spec = BuildSpec(build.name, build.recipe, ROOT / build.folder, build.go_package)
    return ImageSpec(service, shape.registry, spec)


def target_image(folder: Path) -> ImageSpec:
    """The image of a target folder: always built, from its Dockerfile and locked requirements."""
    if not (folder / "Dockerfile").is_file():
        raise WorldError(
            "the target folder has no Dockerfile",
            where=str(folder),
            try_="`lab target check DIR` tells what a target folder needs",
        )
    name = f"target-{folder.resolve().name.lower()}"
    return ImageSpec(read_topology().target.name, None, BuildSpec(name, "wheels", folder.resolve()))
