"""How every command ends: its exit code, and errors as sentences on stderr instead of tracebacks."""

import errno
import sys
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec

import typer
from rich.console import Console
from typer.exceptions import TyperException

from lab.boundary import Caught, attempt
from lab.errors import LabError, ScenarioError
from lab.model.verdict import Verdict
from lab.read.plain_yaml import shown
from lab.report import terminal
from lab.run import session
from lab.run.closing import run_failed

EXIT_USAGE, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_LAB = 2, 10, 11, 12
_EXIT = {Verdict.PASS: 0, Verdict.FAIL: EXIT_FAIL, Verdict.INCONCLUSIVE: EXIT_INCONCLUSIVE}

# The exceptions by which the command-line library ends a command.
_OF_THE_COMMAND_LINE = (typer.Exit, typer.Abort, TyperException)

P = ParamSpec("P")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Turn every error into an exit code and a message on stderr, without a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            ended = attempt(lambda: command(*args, **kwargs), passing=_OF_THE_COMMAND_LINE)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(EXIT_INCONCLUSIVE) from None
        if isinstance(ended, Caught):
            _end_with(ended)

    return run


def _end_with(caught: Caught) -> NoReturn:
    error = caught.error
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        # The reader of the output has gone (`lab … | head`). The command-line library ends quietly then.
        raise error
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        # Only a name that the user gave can be too long.
        error = ScenarioError("that name is too long", where=shown(error.filename))
    complain(run_failed(Caught(error)))
    raise typer.Exit(EXIT_USAGE if isinstance(error, ScenarioError) else EXIT_LAB)


def complain(error: LabError) -> None:
    """Print an error on stderr: what happened, where, and what to try."""
    print(f"lab: {error}", file=sys.stderr)


def finish(outcome: session.Outcome) -> None:
    """Show the verdict and end with its exit code. Where the lab itself failed, say so and end with 12."""
    console = Console(highlight=False)
    width = console.width if console.is_terminal else terminal.COLUMNS_MAX
    console.print(terminal.render(outcome.report, outcome.directory, width), soft_wrap=True)
    if outcome.failure is not None:
        complain(outcome.failure)
        raise typer.Exit(EXIT_LAB)
    raise typer.Exit(_EXIT[outcome.judgement.gate])
