"""Commands that run and judge campaigns: soak, judge."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.console import LogForm, progress_in
from lab.cli.frame import (
    ImagesOption,
    LogOption,
    ProjectOption,
    RunsOption,
    TargetOption,
    alone,
    finish,
    guarded,
    heal_first,
    target_dir,
)
from lab.evidence import run_directory
from lab.evidence.runs_folder import require_runs
from lab.host.world import docker_client
from lab.model.scenario import Scenario
from lab.plan import describe, schedule
from lab.provision.machine import doctor
from lab.provision.stack import bring_up, stack
from lab.provision.stack.stack_spec import check_project
from lab.read.campaigns import TRIALS_MAX, duration_s, load_campaign
from lab.read.targets import load_target
from lab.repository import ROOT
from lab.run import session

DOCUMENTS, QUERIES = 1000, 200

commands = typer.Typer()


@commands.command("soak")
@guarded
def soak_command(
    campaign: Annotated[Path, typer.Argument(help="A campaign file.")] = ROOT / "chaos" / "soak.yaml",
    duration: Annotated[str, typer.Option(help="How long to measure, such as 12m.")] = "",
    trials: Annotated[
        int,
        typer.Option(
            help="How often each fault; five give tolerance bounds, and 0 is what the campaign says.",
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
    """The main job: steady load, rotating faults, accuracy watch, verdict."""
    scenario = _changed(load_campaign(campaign), duration, trials)
    run_scenario(
        scenario,
        seed=seed,
        target=target,
        project=project,
        corpus=corpus,
        runs=runs,
        images_from=images_from,
        log=log,
        dry_run=dry_run,
    )


def run_scenario(
    scenario: Scenario,
    *,
    seed: int,
    target: str,
    project: str,
    corpus: Path | None,
    runs: Path,
    images_from: str,
    log: LogForm = LogForm.AUTO,
    dry_run: bool = False,
) -> None:
    """Plan a scenario, bring the stack up, carry the plan out, and end with its verdict."""
    check_project(project)
    folder = target_dir(target)
    plan = schedule(
        scenario,
        load_target(folder),
        seed,
        capabilities={found.name: found.ok for found in doctor.check_machine()},
        documents=DOCUMENTS,
        queries=QUERIES,
        corpus=str(corpus or "the standard library of the target image's Python"),
    )
    if dry_run:
        print("\n".join(describe(plan)))
        return
    # Now, and not after minutes of bringing up and with the store emptied.
    require_runs(runs)
    progress = progress_in(log)
    heal_first(progress)
    with alone(project):
        spec = bring_up.bring_up(
            project, folder, images_from=images_from, progress=progress.say, advance=progress.advance
        )
        prepared = session.prepare(docker_client(), spec, plan, corpus, progress)
        outcome = session.carry_out(prepared, plan, runs, progress)
    finish(outcome)


def _changed(scenario: Scenario, duration: str, trials: int) -> Scenario:
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
