"""The command line: reads what the user wants, wires the layers together, and maps outcomes to exit codes."""

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer
from rich.console import Console

from lab import faults, soak, wiring
from lab.adapters import run_directory
from lab.adapters.clock import RunClock
from lab.adapters.provision import bring_up, doctor, stack
from lab.adapters.provision.state import machine_lock
from lab.console import Progress
from lab.errors import LabError, ScenarioError
from lab.heal import Healed
from lab.model.scenario import Scenario
from lab.model.verdict import Verdict
from lab.report import schema, terminal
from lab.scenarios import duration_s, load_campaign
from lab.schedule import describe, schedule
from lab.targets import check_target, load_target

EXIT_USAGE, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_LAB = 2, 10, 11, 12
_EXIT = {Verdict.PASS: 0, Verdict.FAIL: EXIT_FAIL, Verdict.INCONCLUSIVE: EXIT_INCONCLUSIVE}
HOME = Path(__file__).resolve().parent.parent
DOCUMENTS, QUERIES = 1000, 200

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
target_app = typer.Typer(no_args_is_help=True, help="Target folders.")
fault_app = typer.Typer(no_args_is_help=True, help="Fault kinds.")
schema_app = typer.Typer(no_args_is_help=True, help="Published schemas.")
app.add_typer(target_app, name="target")
app.add_typer(fault_app, name="fault")
app.add_typer(schema_app, name="schema")

P = ParamSpec("P")
TargetOption = Annotated[str, typer.Option(help="A folder of compose/targets, or a path to one.")]
ProjectOption = Annotated[str, typer.Option(help="Name of the stack (compose project).")]
ImagesOption = Annotated[str, typer.Option(help="Where images may come from: auto, registry or build.")]


def _guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Turn the lab's own errors into their exit codes, said on stderr without a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ScenarioError as error:
            _complain(error)
            raise typer.Exit(EXIT_USAGE) from None
        except LabError as error:
            _complain(error)
            raise typer.Exit(EXIT_LAB) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(EXIT_INCONCLUSIVE) from None

    return run


def _complain(error: LabError) -> None:
    print(f"lab: {error}", file=sys.stderr)


def main() -> None:
    """Entry point of `lab`."""
    app()


def _target_dir(name: str) -> Path:
    found = HOME / "compose" / "targets" / name
    return found if found.is_dir() else Path(name).resolve()


def _show_healed(healed: list[Healed], progress: Progress) -> None:
    for one in healed:
        progress.say(f"{one.outcome}: {one.record.fault_id} of run {one.record.run_id} {one.detail}".rstrip())


def _heal_first(progress: Progress) -> None:
    healed = wiring.heal_leftovers(RunClock())
    _show_healed(healed, progress)


def _alone(project: str) -> AbstractContextManager[None]:
    """Hold a stack for one command; raises LabError while a run or another command is at work on it."""

    def refuse() -> None:
        raise LabError(
            f"the stack {project!r} is in use by another `lab`",
            where="this machine",
            try_="wait for it, or stop it with Ctrl-C (it heals first); or take --project ANOTHER_NAME",
        )

    return machine_lock(f"stack-{project}", refuse)


@app.command()
@_guarded
def up(
    target: TargetOption = "workspace-qdrant-mcp",
    project: ProjectOption = stack.DEFAULT_PROJECT,
    images_from: Annotated[str, typer.Option("--images", help="auto, registry or build")] = "auto",
) -> None:
    """Install and start what is missing, get or build the images, start the stack, print the addresses."""
    progress = Progress()
    _heal_first(progress)
    load_target(_target_dir(target))
    with _alone(project):
        spec = bring_up.bring_up(project, _target_dir(target), images_from=images_from, progress=progress.say)
    _show_addresses(spec)


def _show_addresses(spec: stack.StackSpec) -> None:
    for name, url in stack.addresses(spec).items():
        print(f"{name:16} {url}")
    for image in spec.images.values():
        print(f"{image.service:16} {image.ref} ({image.source})")
    if not spec.grafana:
        print("grafana          left out: no container registry answers, and no package registry carries it")


@app.command()
@_guarded
def down(
    project: ProjectOption = stack.DEFAULT_PROJECT,
    everything: Annotated[
        bool, typer.Option("--all", help="Remove all that carries the lab's label.")
    ] = False,
) -> None:
    """Stop the stack and remove its containers, network and volume."""
    progress = Progress()
    _heal_first(progress)
    with _alone(project):
        if everything:
            for name in stack.down_all():
                progress.say(f"removed {name}")
        elif (spec := stack.load(project)) is not None:
            stack.stop(spec, volumes=True)
        else:
            progress.say(f"there is no stack {project!r}")


@app.command()
@_guarded
def status(project: ProjectOption = stack.DEFAULT_PROJECT) -> None:
    """Show the stack and the faults that are pending; heals what dead runs left."""
    _show_healed(wiring.heal_leftovers(RunClock()), Progress())
    spec = stack.load(project)
    if spec is None:
        print(f"no stack {project!r}; start one with `lab up`")
        return
    for service, state in stack.status(spec).items():
        print(f"{service:16} {state}")
    for name, url in stack.addresses(spec).items():
        print(f"{name:16} {url}")


@app.command()
@_guarded
def heal() -> None:
    """Undo every fault that a dead run left behind."""
    healed = wiring.heal_leftovers(RunClock())
    if not healed:
        print("nothing to heal")
    for one in healed:
        print(f"{one.outcome:7} {one.record.fault_id} of run {one.record.run_id} {one.detail}".rstrip())
    if any(one.outcome == "failed" for one in healed):
        raise LabError(
            "not everything could be healed", try_="see above; `lab down --all` removes the whole stack"
        )


@app.command("doctor")
@_guarded
def doctor_command(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Say what this machine can do, and for each lack the fix."""
    found = doctor.check_machine(ask_registry=True)
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


@app.command("soak")
@_guarded
def soak_command(
    campaign: Annotated[Path, typer.Argument(help="A campaign file.")] = HOME / "chaos" / "soak.yaml",
    duration: Annotated[str, typer.Option(help="How long to measure, such as 10m.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of everything random in the plan.")] = 1,
    target: TargetOption = "workspace-qdrant-mcp",
    project: ProjectOption = stack.DEFAULT_PROJECT,
    corpus: Annotated[
        Path | None, typer.Option(help="A folder of texts in place of the standard library.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where run directories go.")] = Path("runs"),
    images_from: Annotated[str, typer.Option("--images", help="auto, registry or build")] = "auto",
    dry_run: Annotated[
        bool, typer.Option(help="Show the plan and what it can decide; touch nothing.")
    ] = False,
) -> None:
    """The main job: steady load, rotating faults, accuracy watch, verdict."""
    scenario = _with_duration(load_campaign(campaign), duration)
    folder = _target_dir(target)
    capabilities = {found.name: found.ok for found in doctor.check_machine()}
    plan = schedule(
        scenario,
        load_target(folder),
        seed,
        capabilities=capabilities,
        documents=DOCUMENTS,
        queries=QUERIES,
        corpus=str(corpus or "the standard library of the target image's Python"),
    )
    if dry_run:
        print("\n".join(describe(plan)))
        return
    progress = Progress()
    _heal_first(progress)
    with _alone(project):
        spec = bring_up.bring_up(project, folder, images_from=images_from, progress=progress.say)
        prepared = soak.prepare(wiring.docker_client(), spec, plan, corpus, progress)
        outcome = soak.carry_out(prepared, plan, runs, progress)
    _finish(outcome)


def _with_duration(scenario: Scenario, duration: str) -> Scenario:
    return replace(scenario, duration_s=duration_s(duration, "--duration")) if duration else scenario


def _finish(outcome: soak.Outcome) -> None:
    Console(highlight=False).print(terminal.render(outcome.report, outcome.directory))
    raise typer.Exit(_EXIT[outcome.judgement.gate])


@app.command("judge")
@_guarded
def judge_command(
    run: Annotated[str, typer.Argument(help="A run id, a path, or `latest`.")] = "latest",
    runs: Annotated[Path, typer.Option(help="Where run directories are.")] = Path("runs"),
) -> None:
    """Judge a kept run again, without Docker; the same evidence gives the same bytes."""
    _finish(soak.judge_run(run_directory.resolve(runs, run)))


@target_app.command("check")
@_guarded
def target_check(folder: Annotated[Path, typer.Argument(help="The target's folder.")]) -> None:
    """Explain everything that is wrong with a target folder."""
    problems = check_target(folder)
    for problem in problems:
        print(problem)
    if problems:
        raise typer.Exit(EXIT_USAGE)
    print(f"{folder} is right")


@fault_app.command("list")
@_guarded
def fault_list() -> None:
    """List the fault kinds with what they hit and need."""
    for kind, fault in faults.discover().items():
        needs = ", ".join(fault.needs) or "nothing special"
        first = (fault.__doc__ or "").strip().splitlines()[0]
        print(f"{kind:12} {fault.family:10} {', '.join(fault.services):14} needs {needs}\n{'':12} {first}")


@schema_app.command("report")
@_guarded
def schema_report() -> None:
    """Print the JSON schema of `report.json`."""
    print(json.dumps(schema.REPORT, indent=2))
