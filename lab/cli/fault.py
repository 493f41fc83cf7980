"""Commands for faults: list the kinds, and run one fault with its proof and the recovery."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.cli.console import LogForm
from lab.cli.exits import guarded
from lab.cli.options import (
    ImagesOption,
    LogOption,
    ProjectOption,
    RunsOption,
    TargetOption,
    target_dir,
)
from lab.cli.soak import run_request
from lab.errors import ScenarioError
from lab.faults import discover
from lab.faults.catalogue import Entry, catalogue
from lab.judge.checks import default_bounds
from lab.model.scenario import FaultSpec, Scenario
from lab.plan import duration_min_s
from lab.provision.machine import doctor
from lab.provision.stack import stack
from lab.read.campaigns import build_fault, duration_s
from lab.read.plain_yaml import parse, shown
from lab.run import session

commands = typer.Typer(no_args_is_help=True, help="List fault kinds, and run one of them.")
REQUIRED_BY_HAND = ("integrity", "in_force", "recovery")
STAYS_WELL = "8s"


@commands.command("list")
@guarded
def fault_list(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the fault kinds with their parameters, what they need, and whether this machine has it."""
    entries = catalogue({found.name: found.detail for found in doctor.check_machine() if not found.ok})
    if as_json:
        print(json.dumps([{**asdict(entry), "able": not entry.lacks} for entry in entries], indent=2))
        return
    for entry in entries:
        print("\n".join(_lines(entry)))


def _lines(entry: Entry) -> list[str]:
    able = "this machine can" if not entry.lacks else f"NOT HERE: {_lacking(entry)}"
    lines = [
        f"{entry.kind:22} {entry.family:10} {', '.join(entry.services):26} {able}",
        f"    {entry.summary}",
    ]
    lines += [f"    {parameter.name}: {parameter.described()}" for parameter in entry.parameters]
    return [*lines, f"    needs {', '.join(entry.needs)}"] if entry.needs else lines


def _lacking(entry: Entry) -> str:
    return "; ".join(f"no {name} ({found})" for name, found in entry.lacks.items())


@commands.command("run")
@guarded
def fault_run(
    kind: Annotated[str, typer.Argument(help="A fault kind, see `lab fault list`.")],
    parameters: Annotated[
        list[str] | None, typer.Argument(help="target=qdrant latency_ms=300 ...", show_default=False)
    ] = None,
    hold: Annotated[str, typer.Option(help="How long the fault stays in force.")] = "10s",
    stays_well: Annotated[
        str, typer.Option(help="How long the target must stay well before it counts as recovered.")
    ] = STAYS_WELL,
    target: TargetOption = "workspace-qdrant-mcp",
    project: ProjectOption = stack.DEFAULT_PROJECT,
    runs: RunsOption = Path("runs"),
    images_from: ImagesOption = "auto",
    seed: Annotated[int, typer.Option(help="Seed of everything random in the plan.")] = 1,
    log: LogOption = LogForm.AUTO,
    dry_run: Annotated[bool, typer.Option(help="Show the plan; touch nothing.")] = False,
) -> None:
    """Run one fault under the usual load, prove it, and time the recovery."""
    request = session.RunRequest(
        scenario=by_hand(kind, parameters or [], hold, stays_well),
        target_dir=target_dir(target),
        seed=seed,
        project=project,
        runs=runs,
        images_from=images_from,
    )
    run_request(request, log, dry_run=dry_run)


def by_hand(kind: str, parameters: list[str], hold: str, stays_well: str = STAYS_WELL) -> Scenario:
    """The scenario of one fault that is given on the command line; raises ScenarioError where it is not accepted."""
    given = dict(map(_parameter, parameters))
    if "target" not in given:
        _require_target(kind)
    fault = build_fault(kind, given, where="command line", faults=discover())
    spec = FaultSpec(kind, fault.target, fault, duration_s(hold, "--hold"))
    stays_well_s = duration_s(stays_well, "--stays-well")
    return Scenario(
        name=f"fault-{kind.replace('_', '-')}",
        why="one fault by hand: what it does, that it is proven, and how long the target needs afterwards",
        duration_s=duration_min_s([spec], stays_well_s, brief=True),
        faults=(spec,),
        bounds=default_bounds(),
        required=REQUIRED_BY_HAND,
        source="command line",
        stays_well_s=stays_well_s,
        brief=True,
    )


def _require_target(kind: str) -> None:
    """Say which services a kind accepts as its target; nothing for a kind that does not exist."""
    for entry in catalogue():
        if entry.kind == kind:
            others = "".join(f" {found.name}=…" for found in entry.parameters if found.required)
            raise ScenarioError(
                f"{kind} needs a target, the service on which it acts: {' or '.join(entry.services)}",
                where="command line",
                try_=f"`lab fault run {kind} target={entry.services[0]}{others} --hold 5s`",
            )


def _parameter(text: str) -> tuple[str, Any]:
    name, found, value = text.partition("=")
    if not found:
        raise ScenarioError(
            f"{text!r} is not a parameter", where="command line", try_="NAME=VALUE, such as target=qdrant"
        )
    try:
        # Read as in a campaign file. Bytes that are not UTF-8 are restored first, so that the reader refuses them.
        return name, parse(os.fsencode(value), "command line").value
    except ScenarioError as error:
        raise ScenarioError(
            f"{shown(value)} is not a value: {error.what}", where=f"command line, {name}", try_=error.try_
        ) from error
