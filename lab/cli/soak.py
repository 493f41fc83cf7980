"""Commands that run and judge campaigns: soak, judge."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.console import LogForm, progress_in
from lab.cli.exits import finish, guarded
from lab.cli.options import (
    ImagesOption,
    LogOption,
    ProjectOption,
    RunsOption,
    TargetOption,
    target_dir,
)
from lab.evidence import run_directory
from lab.host.processes.process_handle import own_age_s
from lab.model.scenario import Scenario
from lab.provision.stack import stack
from lab.read.campaigns import TRIALS_MAX, duration_s, load_campaign
from lab.repository import ROOT
from lab.run import session

commands = typer.Typer()


@commands.command("soak")
@guarded
def soak_command(
    campaign: Annotated[Path, typer.Argument(help="A campaign file.")] = ROOT / "chaos" / "soak.yaml",
    duration: Annotated[
        str, typer.Option(help="How long to measure, such as 12m; by default as long as the campaign says.")
    ] = "",
    trials: Annotated[
        int,
        typer.Option(
            help="How often each fault is injected; 5 give tolerance bounds, 0 is what the campaign says.",
            min=0,
            max=TRIALS_MAX,
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of everything random in the plan.")] = 1,
    target: TargetOption = "workspace-qdrant-mcp",
    project: ProjectOption = stack.DEFAULT_PROJECT,
    corpus: Annotated[
        Path | None, typer.Option(help="A folder of texts in place of the standard library.")
    ] = None,
    runs: RunsOption = Path("runs"),
    images_from: ImagesOption = "auto",
    log: LogOption = LogForm.AUTO,
    dry_run: Annotated[
        bool, typer.Option(help="Show the plan and what it can decide; touch nothing.")
    ] = False,
) -> None:
    """Run the main job: steady load, one fault after another, constant checks of accuracy, and the verdict."""
    request = session.RunRequest(
        scenario=_changed(load_campaign(campaign), duration, trials),
        target_dir=target_dir(target),
        seed=seed,
        project=project,
        corpus=corpus,
        runs=runs,
        images_from=images_from,
    )
    run_request(request, log, dry_run=dry_run)


def run_request(request: session.RunRequest, log: LogForm, *, dry_run: bool) -> None:
    """Run the request and end with its verdict; with `dry_run` only show its plan."""
    if dry_run:
        print("\n".join(session.dry_run(request)))
    else:
        finish(session.run(replace(request, command_age_s=own_age_s()), progress_in(log)))


def _changed(scenario: Scenario, duration: str, trials: int) -> Scenario:
    """The scenario with the options of the command line. More trials lengthen it, unless a duration is given."""
    if duration:
        scenario = replace(scenario, duration_s=duration_s(duration, "--duration"))
    if not trials or trials == scenario.trials:
        return scenario
    longer = scenario.duration_s if duration else scenario.duration_s * trials / scenario.trials
    return replace(scenario, trials=trials, duration_s=longer)


@commands.command("judge")
@guarded
def judge_command(
    run: Annotated[str, typer.Argument(help="A run id, a path, or `latest`.")] = "latest",
    runs: Annotated[Path, typer.Option(help="Where run directories are.")] = Path("runs"),
) -> None:
    """Judge a kept run again, without Docker; the same evidence gives the same bytes."""
    finish(session.judge_run(run_directory.resolve(runs, run)))
