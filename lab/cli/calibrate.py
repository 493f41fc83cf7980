"""Commands that check the instrument itself, by measuring something whose true value is known."""

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.console import LogForm, progress_in
from lab.cli.exits import EXIT_FAIL, EXIT_INCONCLUSIVE, guarded
from lab.cli.options import LogOption
from lab.evidence.runs_folder import require_folder
from lab.read.campaigns import duration_s

commands = typer.Typer(no_args_is_help=True, help="Check the instrument against known truths.")


@commands.callback()
def _calibrate() -> None:
    """Check the instrument against known truths."""


@commands.command("recovery")
@guarded
def recovery(
    outages: Annotated[int, typer.Option(help="Number of outages.", min=1)] = 100,
    quiet: Annotated[
        str, typer.Option(help="How long the server is watched without an outage first.")
    ] = "10m",
    seed: Annotated[int, typer.Option(help="Seed of the schedule of the outages.")] = 1,
    directory: Annotated[Path, typer.Option(help="Where the certificate goes.")] = Path("runs/calibration"),
    log: LogOption = LogForm.AUTO,
) -> None:
    """Compare what the lab measures of a server's outages with their true times."""
    from lab.run import calibrate as instrument

    course = instrument.Course(outages, duration_s(quiet, "--quiet"), seed)
    require_folder(directory, "--directory")
    certificate = instrument.recovery(directory, course, progress_in(log).advance)
    print("\n".join(certificate.lines()))
    if certificate.verdict != "pass":
        raise typer.Exit(EXIT_FAIL if certificate.verdict == "fail" else EXIT_INCONCLUSIVE)
