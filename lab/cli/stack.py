"""Commands for the stack and the machine: up, down, status, heal, doctor."""

import json
from typing import Annotated

import typer

from lab.cli.console import LogForm, progress_in
from lab.cli.exits import guarded
from lab.cli.options import ImagesOption, LogOption, ProjectOption, TargetOption, target_dir
from lab.guard import leftovers
from lab.guard.heal import require_healed
from lab.observe.clock import RunClock
from lab.provision.machine import doctor
from lab.provision.stack import bring_up, stack
from lab.provision.stack.stack_spec import check_project
from lab.read.targets import load_target
from lab.run.healing import heal_now, healing_around
from lab.run.stack_lock import lock_all_stacks, lock_stack

commands = typer.Typer()


@commands.command()
@guarded
def up(
    target: TargetOption = "workspace-qdrant-mcp",
    project: ProjectOption = stack.DEFAULT_PROJECT,
    images_from: ImagesOption = "auto",
    log: LogOption = LogForm.AUTO,
) -> None:
    """Install and start what is missing, get or build the images, start the stack, print the addresses."""
    progress = progress_in(log)
    lock = lock_stack(project)
    with healing_around(progress), lock:
        load_target(target_dir(target))
        spec = bring_up.bring_up(
            project,
            target_dir(target),
            images_from=images_from,
            progress=progress.say,
            advance=progress.advance,
        )
        _show_addresses(spec)


def _show_addresses(spec: stack.StackSpec) -> None:
    for name, url in stack.addresses(spec).items():
        print(f"{name:16} {url}")
    for image in spec.images.values():
        print(f"{image.service:16} {image.ref} ({image.source})")
    if not spec.grafana:
        print("grafana          left out: no container registry answers, and no package registry carries it")


@commands.command()
@guarded
def down(
    project: ProjectOption = stack.DEFAULT_PROJECT,
    everything: Annotated[
        bool, typer.Option("--all", help="Remove everything that carries the lab's label.")
    ] = False,
    log: LogOption = LogForm.AUTO,
) -> None:
    """Stop the stack and remove its containers, network and volume."""
    progress = progress_in(log)
    lock = lock_all_stacks(check_project(project)) if everything else lock_stack(project)
    with healing_around(progress), lock:
        if everything:
            for name in stack.down_all():
                progress.say(f"removed {name}")
        elif (spec := stack.load(project)) is not None:
            stack.stop(spec, volumes=True)
        else:
            progress.say(f"there is no stack {project!r}")


@commands.command()
@guarded
def status(project: ProjectOption = stack.DEFAULT_PROJECT, log: LogOption = LogForm.AUTO) -> None:
    """Heal what dead runs left, and show the stack."""
    healed = heal_now(progress_in(log))
    _show(project)
    require_healed(healed)


def _show(project: str) -> None:
    spec = stack.load(project)
    if spec is None:
        print(f"no stack {project!r}; start one with `lab up`")
        return
    for service, state in stack.status(spec).items():
        print(f"{service:16} {state}")
    for name, url in stack.addresses(spec).items():
        print(f"{name:16} {url}")


@commands.command()
@guarded
def heal() -> None:
    """Undo every fault that a dead run left behind."""
    healed = leftovers.heal_leftovers(RunClock())
    if not healed:
        print("nothing to heal")
    for result in healed:
        print(result.line)
    require_healed(healed)


@commands.command("doctor")
@guarded
def doctor_command(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Say what this machine can do, and how to fix what it cannot."""
    found = doctor.check_machine(ask_registry=True, watch_clock_s=2.0)
    if as_json:
        print(
            json.dumps(
                [{"name": c.name, "ok": c.ok, "detail": c.detail, "fix": c.fix} for c in found], indent=2
            )
        )
        return
    for capability in found:
        mark = "ok  " if capability.ok else "LACK"
        print(f"{mark} {capability.name:20} {capability.detail}")
        if not capability.ok and capability.fix:
            print(f"     {'':20} fix: {capability.fix}")
