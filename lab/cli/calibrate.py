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
    backlogs: Annotated[
        int, typer.Option(help="Number of outages of a server that answers one call at a time.", min=1)
    ] = 52,
    seed: Annotated[int, typer.Option(help="Seed of the schedule of the outages.")] = 1,
    directory: Annotated[Path, typer.Option(help="Where the certificate goes.")] = Path("runs/calibration"),
    log: LogOption = LogForm.AUTO,
) -> None:
    """Compare what the lab measures of two servers' outages with their true times."""
    from lab.run.calibration import at_once, in_turn

    course = at_once.Course(outages, duration_s(quiet, "--quiet"), seed)
    require_folder(directory, "--directory")
    say = progress_in(log).advance
    certificates = (
        at_once.recovery(directory, course, say),
        in_turn.recovery(directory, in_turn.Course(backlogs, seed), say),
    )
    print("\n\n".join("\n".join(certificate.lines()) for certificate in certificates))
    verdicts = {certificate.verdict for certificate in certificates}
    if verdicts != {"pass"}:
        raise typer.Exit(EXIT_FAIL if "fail" in verdicts else EXIT_INCONCLUSIVE)
