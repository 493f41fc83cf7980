"""Leads from a bare machine to a running stack, in one call."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

from lab.errors import ScenarioError
from lab.host.system_errors import as_world_error
from lab.provision.images.image_specs import Mode
from lab.provision.machine.progress import progress_to
from lab.provision.stack.prepare import prepare
from lab.provision.stack.stack import StackSpec, plan_stack, start
from lab.provision.stack.stack_spec import Ports, check_project, target_settings


@as_world_error("the stack cannot be brought up", try_="`lab doctor` examines the machine")
def bring_up(
    project: str,
    target_dir: Path,
    *,
    images_from: str = "auto",
    progress: Callable[[str], None] = lambda text: None,
    advance: Callable[[str], None] | None = None,
    ports: Ports = None,
    ready: Callable[[str], bool] | None = None,
    start_it: bool = True,
) -> StackSpec:
    """Install and start what is missing, get or build the images, start the stack and wait until it answers.

    Without `start_it` everything is ready for the start of the stack, and the stack is left as it is.

    `progress` gets a line for each step, `advance` (or `progress`) one every few seconds while a step goes on.
    If everything is there, this changes nothing. Raises ScenarioError for mistakes of the user, and WorldError for
    what the machine lacks.
    """
    mode: Mode = _mode(images_from)
    check_project(project)
    target_settings(target_dir)
    shown = progress_to(progress, advance)
    prepared = prepare(target_dir, shown, mode=mode)
    spec = plan_stack(project, target_dir, prepared.images, ports)
    if start_it:
        start(spec, shown, ready=ready)
    return spec


def _mode(text: str) -> Mode:
    for mode in get_args(Mode):
        if text == mode:
            return mode  # type: ignore[no-any-return]
    raise ScenarioError(
        "this is not a source of images",
        where="--images",
        last_state=repr(text),
        try_="auto, registry or build",
    )
