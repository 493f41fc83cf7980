"""Prepares what a stack needs on this machine, in parallel: engine, compose plugin and images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab.host.machine.shell import Runner, Subprocesses
from lab.host.machine.state import machine_lock
from lab.provision.images.base_image import BaseImage
from lab.provision.images.compose_plugin import compose_version, ensure_compose
from lab.provision.images.drafts import sweep_drafts
from lab.provision.images.image_specs import ImageUsed, Mode, load_images, target_image
from lab.provision.images.images import Images, LeftOut, require_room, split
from lab.provision.images.parallel import run_all
from lab.provision.images.registry import Registry, through
from lab.provision.machine.engine import Engine
from lab.provision.machine.engine_start import ensure_engine
from lab.provision.machine.fault_tools import ensure_fault_tools
from lab.provision.machine.packages import Packages
from lab.provision.machine.progress import Progress

COMPOSE = "compose plugin"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is available on this machine now; `left_out` names the services that are not, and why."""

    engine: Engine
    compose_version: str
    images: Mapping[str, ImageUsed]
    left_out: tuple[LeftOut, ...]


def prepare(
    target_dir: Path, progress: Progress, *, mode: Mode = "auto", runner: Runner | None = None
) -> Prepared:
    """Provide the engine, the compose plugin, the images of `compose/images.yaml` and of the target.

    What is there already is used. If another lab does the same, this waits for it. Raises WorldError.
    """
    runner = runner or Subprocesses()
    packages = Packages(runner, progress)
    engine = ensure_engine(runner, packages, progress)
    with machine_lock("prepare", lambda: progress.note("another lab prepares this machine: waiting for it")):
        sweep_drafts()
        ensure_fault_tools(runner, packages)
        images = image_sources(engine, mode, runner, packages)
        specs = [*load_images().images.values(), target_image(target_dir)]
        tasks: dict[str, Callable[[], ImageUsed | LeftOut | str]] = {**images.tasks(specs)}
        present = compose_version(engine, runner)
        if present is None:
            require_room(engine)
            tasks[COMPOSE] = partial(ensure_compose, engine, runner, packages, progress)
        results = run_all(tasks, runner, progress)
    used, left_out = split({name: got for name, got in results.items() if not isinstance(got, str)})
    for absent in left_out:
        progress.note(f"{absent.service} is left out on this machine: {absent.why}")
    return Prepared(engine, present or str(results[COMPOSE]), used, left_out)


def image_sources(engine: Engine, mode: Mode, runner: Runner, packages: Packages) -> Images:
    """The sources of images on this machine."""
    registry, progress = Registry(through(engine)), packages.progress
    base = BaseImage(load_images().base, mode, engine, registry, runner, packages, progress)
    return Images(mode, engine, registry, base, runner, progress, room=partial(require_room, engine))
