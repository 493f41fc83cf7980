"""`compose/images.yaml` as values: for each service a pinned image, and a recipe to build a replacement."""

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
    """An image that a stack uses; `digest` is the registry's, or the image id if it was built or loaded here."""

    service: str
    ref: str
    digest: str
    source: Source


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """How to build an image.

    The recipe `wheels` adds the wheels of the folder's locked requirements to the context, the recipe `go` a binary.
    """

    name: str
    recipe: Recipe
    folder: Path
    go_package: str = ""


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """The image of one service; without `build` it is available only if a registry answers."""

    service: str
    registry: str | None
    build: BuildSpec | None

    @property
    def optional(self) -> bool:
        """True if the service may be left out, with a message, when its image is not available."""
        return self.build is None


@dataclass(frozen=True, slots=True)
class BaseSpec:
    """The base image: a pinned reference, or a minimal Debian with these packages."""

    registry: str
    suite: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImagesFile:
    """The content of `compose/images.yaml`."""

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
    """Read and check the list of images; raises ScenarioError, with file and line, if it is wrong."""
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
    """The image of a target folder; it is always built, from its Dockerfile and locked requirements."""
    if not (folder / "Dockerfile").is_file():
        raise WorldError(
            "the target folder has no Dockerfile",
            where=str(folder),
            try_="`lab target check DIR` tells what a target folder needs",
        )
    name = f"target-{folder.resolve().name.lower()}"
    return ImageSpec(read_topology().target.name, None, BuildSpec(name, "wheels", folder.resolve()))
