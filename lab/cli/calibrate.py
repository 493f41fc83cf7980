"""The instrument's own certificate: known truths, measured as in a run."""

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.console import LogForm, progress_in
from lab.cli.frame import EXIT_FAIL, EXIT_INCONCLUSIVE, LogOption, guarded
from lab.evidence.runs_folder import require_folder
from lab.read.campaigns import duration_s

commands = typer.Typer(no_args_is_help=True, help="What the lab measures of known truths.")


@commands.callback()
def _calibrate() -> None:
    """What the lab measures of known truths."""


@commands.command("recovery")
@guarded
def recovery(
    outages: Annotated[int, typer.Option(help="How many known outages.", min=1)] = 100,
    quiet: Annotated[str, typer.Option(help="How long nothing happens at all.")] = "10m",
    seed: Annotated[int, typer.Option(help="Seed of the outages' schedule.")] = 1,
    directory: Annotated[Path, typer.Option(help="Where the certificate goes.")] = Path("runs/calibration"),
    log: LogOption = LogForm.AUTO,
) -> None:
    """Outages of a reference server whose times are known, against what the lab measured of them."""
    from lab.run import calibrate as instrument

    course = instrument.Course(outages, duration_s(quiet, "--quiet"), seed)
    require_folder(directory, "--directory")
    certificate = instrument.recovery(directory, course, progress_in(log).advance)
    print("\n".join(certificate.lines()))
    if certificate.verdict != "pass":
        raise typer.Exit(EXIT_FAIL if certificate.verdict == "fail" else EXIT_INCONCLUSIVE)
