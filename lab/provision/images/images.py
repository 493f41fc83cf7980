"""Provides every image of the stack: from the local engine, else from its registry, else built here."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import docker
from docker.errors import ImageNotFound

from lab.errors import WorldError
from lab.host.machine.shell import Runner
from lab.host.machine.state import state_dir
from lab.provision.images.base_image import BaseImage
from lab.provision.images.build_context import content_hash, needs_base
from lab.provision.images.image_build import build_image, image_id
from lab.provision.images.image_specs import BuildSpec, ImageSpec, ImageUsed, Mode
from lab.provision.images.registry import Registry, pull
from lab.provision.machine.engine import Engine
from lab.provision.machine.progress import Progress

FREE_BYTES_MIN = 8 * 1000**3


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A service that is not available on this machine, and why."""

    service: str
    why: str


@dataclass(slots=True)
class Images:
    """Finds, pulls or builds images; `mode` is `auto`, `registry` (never build) or `build` (never pull).

    The image of a target is built in every mode, because no registry has it.
    """

    mode: Mode
    engine: Engine
    registry: Registry
    base: BaseImage
    runner: Runner
    progress: Progress
    room: Callable[[], None] = field(default=lambda: None)

    def tasks(self, specs: Sequence[ImageSpec]) -> dict[str, Callable[[], ImageUsed | LeftOut]]:
        """One task per image; the tasks are independent, and the first one that needs the base makes it."""
        return {spec.service: partial(self.provide, spec) for spec in specs}

    def provide(self, spec: ImageSpec) -> ImageUsed | LeftOut:
        """Provide one image; raises WorldError if it is not available and may not be left out."""
        found = self._present(spec) or self._pulled(spec)
        if found:
            return found
        if spec.build is None:
            return LeftOut(spec.service, self._why_not(spec))
        if self.mode == "registry" and spec.registry:
            raise WorldError(
                f"the registry did not give the image for {spec.service}",
                where=spec.registry,
                last_state=self._why_not(spec),
                try_="`--images auto`, which builds what no registry gives",
            )
        return self._built(spec.service, spec.build)

    def _present(self, spec: ImageSpec) -> ImageUsed | None:
        if spec.registry is None or self.mode == "build":
            return None
        client = self.engine.client()
        try:
            digest = local_digest(client, spec.registry)
        finally:
            client.close()
        return ImageUsed(spec.service, spec.registry, digest, "local") if digest else None

    def _pulled(self, spec: ImageSpec) -> ImageUsed | None:
        ref = spec.registry
        if ref is None or self.mode == "build":
            return None
        digest = self.registry.digest(ref)
        if digest is None:
            return None
        self.room()
        client = self.engine.client()
        try:
            failure = pull(client, ref, self.progress)
        finally:
            client.close()
        if failure:
            self.progress.note(f"{ref} could not be pulled: {failure}")
            return None
        return ImageUsed(spec.service, ref, digest, "registry")

    def _built(self, service: str, build: BuildSpec) -> ImageUsed:
        base = self.base.ref() if needs_base(build.folder) else ""
        ref = f"lab.local/{build.name}:{content_hash(build, base)}"
        client = self.engine.client()
        try:
            there = image_id(client, ref)
        finally:
            client.close()
        if there:
            return ImageUsed(service, ref, there, "built")
        self.room()
        ensure = self.base.ensure if base else str
        digest = build_image(build, ref, ensure, self.engine, self.runner, self.progress)
        return ImageUsed(service, ref, digest, "built")

    def _why_not(self, spec: ImageSpec) -> str:
        if spec.registry is None or self.mode == "build":
            return "only a registry has it, and no registry may be asked"
        return self.registry.why_silent(spec.registry) or f"the registry did not give {spec.registry}"


def local_digest(client: docker.DockerClient, ref: str) -> str | None:
    """The registry digest of an image in the engine, or its id if it has no digest; None if there is no image."""
    try:
        image = client.images.get(ref)
    except ImageNotFound:
        return None
    digests: list[Any] = image.attrs.get("RepoDigests") or []
    return str(digests[0]).partition("@")[2] if digests else str(image.id)


def require_room(engine: Engine) -> None:
    """Raise WorldError if less than 8 GB are free for images and state, before anything is fetched or built."""
    for path in (Path(engine.root_directory or "/"), state_dir()):
        free = shutil.disk_usage(nearest(path)).free
        if free < FREE_BYTES_MIN:
            raise WorldError(
                "not enough free disk space to get the images",
                where=str(path),
                last_state=f"{free / 1e9:.1f} GB free, {FREE_BYTES_MIN / 1e9:.0f} GB needed",
                try_="free some space (`docker system df` shows what Docker holds), or set LAB_STATE_DIR",
            )


def nearest(path: Path) -> Path:
    """The path itself, or the closest parent that exists."""
    return next(candidate for candidate in (path, *path.parents) if candidate.exists())


def split(results: Mapping[str, ImageUsed | LeftOut]) -> tuple[dict[str, ImageUsed], tuple[LeftOut, ...]]:
    """The available images by service, and the services that are left out."""
    used = {name: result for name, result in results.items() if isinstance(result, ImageUsed)}
    return used, tuple(result for result in results.values() if isinstance(result, LeftOut))
