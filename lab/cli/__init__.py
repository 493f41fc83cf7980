"""The command line of the chaos-and-soak lab: reads options, runs the session, shows the outcome."""

import json
from pathlib import Path
from typing import Annotated

import typer

from lab.cli import calibrate, fault, soak, stack
from lab.cli.exits import EXIT_USAGE, guarded
from lab.read.targets import check_target
from lab.report import schema

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
target_app = typer.Typer(no_args_is_help=True, help="Target folders.")
schema_app = typer.Typer(no_args_is_help=True, help="Published schemas.")
app.add_typer(stack.commands)
app.add_typer(soak.commands)
app.add_typer(fault.commands, name="fault")
app.add_typer(calibrate.commands, name="calibrate")
app.add_typer(target_app, name="target")
app.add_typer(schema_app, name="schema")


def main() -> None:
    """Run the command line; the entry point of `lab`."""
    app()


@target_app.callback()
def _target() -> None:
    """Target folders."""


@target_app.command("check")
@guarded
def target_check(folder: Annotated[Path, typer.Argument(help="The target's folder.")]) -> None:
    """Explain everything that is wrong with a target folder."""
    problems = check_target(folder)
    for problem in problems:
        print(problem)
    if problems:
        raise typer.Exit(EXIT_USAGE)
    print(f"{folder} is right")


@schema_app.command("report")
@guarded
def schema_report() -> None:
    """Print the JSON schema of `report.json`."""
    print(json.dumps(schema.report_schema(), indent=2))
