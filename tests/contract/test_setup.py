"""`make soak` hands on what the user gave and nothing else; `make setup` installs the command `.venv/bin/lab`."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import lab

HOME = Path(__file__).resolve().parents[2]
# Stands for the Python of .venv: writes down its arguments, and makes the command where pip would.
PYTHON = """#!/bin/sh
printf '%s\\n' "$*" >>"$CALLS"
case "$*" in
    *" -e .") : >.venv/bin/lab; chmod +x .venv/bin/lab ;;
esac
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    path = tmp_path / "python"
    path.write_text(PYTHON, encoding="utf-8")
    path.chmod(0o755)
    return path


def called(command: list[str], cwd: Path, calls: Path) -> list[str]:
    """What the command's Python was called with, a line for each call."""
    calls.unlink(missing_ok=True)
    kept = {name: value for name, value in os.environ.items() if name not in ("DURATION", "SEED", "CAMPAIGN")}
    subprocess.run(command, cwd=cwd, env={**kept, "CALLS": str(calls)}, check=True, capture_output=True)
    return calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ([], "-m lab soak"),
        (["CAMPAIGN=x.yaml"], "-m lab soak x.yaml"),
        (["CAMPAIGN=my x.yaml", "DURATION=30m"], "-m lab soak my x.yaml --duration 30m"),
        (["SEED=7", "TARGET=other"], "-m lab soak --seed 7 --target other"),
    ],
)
def test_make_soak_gives_a_duration_only_where_the_user_did(
    python: Path, tmp_path: Path, given: list[str], asked: str
) -> None:
    make = ["make", "-o", "setup-runtime", "soak", f"PY={python}", "AS_ROOT=", *given]
    assert called(make, HOME, tmp_path / "calls") == [asked]


def checkout(folder: Path, python: Path) -> Path:
    """As much of a checkout as setup reads, with everything but the command installed."""
    (folder / "requirements").mkdir(parents=True)
    for name in (
        "requirements/venv.sh",
        "requirements/runtime.txt",
        "requirements/dev.txt",
        "pyproject.toml",
    ):
        shutil.copy(HOME / name, folder / name)
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(python, folder / ".venv" / "bin" / "python")
    return folder


def installs(folder: Path, calls: Path) -> list[str]:
    """What of the calls of one setup installed something."""
    said = called(["sh", "requirements/venv.sh", "runtime"], folder, calls)
    return [line.split()[-1] for line in said if "pip install" in line]


def test_setup_installs_the_command_again_where_it_is_missing_or_names_another_folder(
    python: Path, tmp_path: Path
) -> None:
    calls, here = tmp_path / "calls", checkout(tmp_path / "a folder", python)
    assert installs(here, calls) == ["requirements/runtime.txt", "."]
    assert installs(here, calls) == []
    (here / ".venv" / "bin" / "lab").unlink()
    assert installs(here, calls) == ["."]
    moved = here.rename(tmp_path / "elsewhere")
    assert installs(moved, calls) == ["."]
    assert installs(moved, calls) == []


def test_the_package_is_installed_under_the_version_that_the_lab_reports() -> None:
    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == lab.__version__
    assert project["scripts"] == {"lab": "lab.cli:main"}
