"""Options that several commands have, and what they stand for."""

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.console import LogForm
from lab.repository import TARGETS

TargetOption = Annotated[str, typer.Option(help="A folder of compose/targets, or a path to one.")]
ProjectOption = Annotated[str, typer.Option(help="Name of the stack (compose project).")]
ImagesOption = Annotated[
    str, typer.Option("--images", help="Where images may come from: auto, registry or build.")
]
LogOption = Annotated[
    LogForm,
    typer.Option(help="Form of the progress on stderr; auto is live on a terminal and plain elsewhere."),
]
RunsOption = Annotated[Path, typer.Option(help="Where run directories go.")]


def target_dir(name: str) -> Path:
    """The folder of a target that is given by its name or by a path."""
    found = TARGETS / name
    return found if found.is_dir() else Path(name).resolve()
