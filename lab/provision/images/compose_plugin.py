"""The `docker compose` command: the one that works already, else a package of the system, else built here."""

import hashlib
import os
import re
import shutil
from pathlib import Path

from lab.errors import WorldError
from lab.host.machine.shell import Runner, is_root
from lab.host.machine.state import cache_directory, machine_lock
from lab.provision.images.go_build import GoProgram, build_program
from lab.provision.machine.engine import Engine
from lab.provision.machine.packages import Packages
from lab.provision.machine.progress import Progress

VERSION_TIMEOUT_S = 20.0
PACKAGE = "github.com/docker/compose/v2"
MODULE = Path(__file__).resolve().parent / "gomods" / "compose"
# Up to bookworm, Debian's `docker-compose` is the old version 1; from trixie on it is the plugin.
SYSTEM_PACKAGES = ("docker-compose-v2", "docker-compose")


def ensure_compose(engine: Engine, runner: Runner, packages: Packages, progress: Progress) -> str:
    """Make `docker compose` available and return its version; raises WorldError if that fails."""
    with machine_lock("compose-plugin"):
        _ensure_docker_program(runner, packages)
        found = compose_version(engine, runner)
        if found:
            return found
        if not _from_packages(packages):
            _install_built(runner, progress)
        found = compose_version(engine, runner)
        if found:
            return found
    raise WorldError(
        "the compose plugin was installed, but `docker compose version` still fails",
        where=str(plugin_path()),
        last_state=_ask(engine, runner)[1],
        try_="check whether DOCKER_CONFIG or HOME point elsewhere for docker",
    )


def compose_version(engine: Engine, runner: Runner) -> str | None:
    """The version that `docker compose` reports, or None if it does not work."""
    version, _ = _ask(engine, runner)
    return version


def _ask(engine: Engine, runner: Runner) -> tuple[str | None, str]:
    answer = runner.run(
        ["docker", "compose", "version", "--short"], timeout_s=VERSION_TIMEOUT_S, env=engine.environment
    )
    found = re.match(r"v?(\d+\.\d+\.\d+\S*)", answer.stdout.strip())
    return (found[1] if answer.ok and found and not found[1].startswith("1.") else None), answer.tail()


def _ensure_docker_program(runner: Runner, packages: Packages) -> None:
    """Install the docker program if it is missing; an engine can be there without it."""
    for name in ("docker.io", "docker-cli"):
        if runner.find("docker"):
            return
        others = packages.installed(("docker-ce", "docker-ce-cli", "podman", "containerd.io"))
        if others:
            raise WorldError(
                "the docker program is missing",
                last_state=f"{', '.join(sorted(others))} is installed, which the lab does not displace",
                try_="install the docker program that belongs to it (docker-ce-cli)",
            )
        packages.install([name], why="the docker program is missing")


def _from_packages(packages: Packages) -> bool:
    """Install the system's package if it is version 2 or newer; False if there is none."""
    if not is_root():
        return False
    for name in SYSTEM_PACKAGES:
        version = packages.candidate(name)
        if version and int(re.match(r"(?:\d+:)?(\d*)", version)[1] or 0) >= 2:  # type: ignore[index]
            packages.install([name], why="docker compose is missing")
            return True
    return False


def plugin_path() -> Path:
    """The path of a plugin that the user installs for the docker program."""
    config = os.environ.get("DOCKER_CONFIG")
    return (Path(config) if config else Path.home() / ".docker") / "cli-plugins" / "docker-compose"


def _install_built(runner: Runner, progress: Progress) -> None:
    built = _built(runner, progress)
    path = plugin_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".docker-compose.{os.getpid()}")
    try:
        shutil.copyfile(built, draft)
        draft.chmod(0o755)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    progress.note(f"installed the compose plugin into {path}")


def _built(runner: Runner, progress: Progress) -> Path:
    """The plugin's binary in the cache; it is built if these versions were not built before."""
    pins = (MODULE / "go.mod").read_bytes() + (MODULE / "go.sum").read_bytes()
    built = cache_directory("compose", hashlib.sha256(pins).hexdigest()[:12]) / "docker-compose"
    if built.exists():
        return built
    pinned = re.search(rf"^\s*(?:require )?{PACKAGE} (v\S+)", pins.decode(), re.MULTILINE)
    version = pinned[1] if pinned else "unknown"
    program = GoProgram(
        "docker-compose", MODULE, f"{PACKAGE}/cmd", f"-X {PACKAGE}/internal.Version={version}"
    )
    with progress.step(f"building the compose plugin {version} (about 2 minutes)") as step:
        build_program(program, built, runner, progress, step)
    return built
