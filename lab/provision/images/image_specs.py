"""`compose/images.yaml` as values: for each service the pinned reference and the recipe that builds a stand-
in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from lab.errors import WorldError
from lab.repository import IMAGES_FILE, ROOT

Source = Literal["local", "registry", "built"]
Mode = Literal["auto", "registry", "build"]
Recipe = Literal["plain", "wheels", "go"]
TARGET_SERVICE = "mcp"


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


def load_images(path: Path = IMAGES_FILE) -> ImagesFile:
    """Read and check the file; raises WorldError, for it is the lab's own file and not the user's."""
    try:
        return _parse(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise WorldError(
            "the list of images cannot be read",
            where=str(path),
            last_state=repr(error),
            try_="restore it from the repository (`git checkout compose/images.yaml`)",
        ) from error


def _parse(value: Any) -> ImagesFile:
    base = value["base"]
    images = {service: _image(service, entry) for service, entry in value["images"].items()}
    return ImagesFile(BaseSpec(_pinned(base["registry"]), base["suite"], tuple(base["packages"])), images)


def _image(service: str, entry: Mapping[str, Any]) -> ImageSpec:
    return ImageSpec(
        service, _pinned(entry["registry"]), _build(entry["build"]) if "build" in entry else None
    )


def _build(entry: Mapping[str, Any]) -> BuildSpec:
    recipe = entry["recipe"]
    if recipe not in ("plain", "wheels", "go"):
        raise ValueError(f"unknown recipe {recipe!r}")
    return BuildSpec(entry["name"], recipe, ROOT / entry["folder"], entry.get("go_package", ""))


def _pinned(ref: str) -> str:
    """A reference must carry a tag that says a version: `latest` moves."""
    _, colon, tag = ref.rpartition(":")
    if not colon or "/" in tag or tag == "latest":
        raise ValueError(f"{ref!r} has no pinned tag")
    return ref


def target_image(folder: Path) -> ImageSpec:
    """The image of a target folder: always built, from its Dockerfile and locked requirements."""
    if not (folder / "Dockerfile").is_file():
        raise WorldError(
            "the target folder has no Dockerfile",
            where=str(folder),
            try_="`lab target check DIR` tells what a target folder needs",
        )
    name = f"target-{folder.resolve().name.lower()}"
    return ImageSpec(TARGET_SERVICE, None, BuildSpec(name, "wheels", folder.resolve()))
