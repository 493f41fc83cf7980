"""Starts a Docker engine, or installs one if there is none: it collects facts, decides, then acts."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.errors import WorldError
from lab.host.machine.shell import Detached, Runner, is_root, tail
from lab.host.machine.state import machine_lock, state_dir
from lab.provision.machine.engine import Engine, NoEngine, find_engine
from lab.provision.machine.packages import Packages
from lab.provision.machine.progress import Progress

READY_TIMEOUT_S = 30.0
POLL_S = 0.5
SYSTEMCTL_TIMEOUT_S = 90.0
# If one of these is installed, somebody chose this engine; installing docker.io would replace it.
OTHER_ENGINES = ("docker-ce", "containerd.io", "podman", "moby-engine", "docker-engine")
PID_FILE = Path("/var/run/docker.pid")


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """The facts that decide how to get an engine, on a machine where none answers."""

    dockerd: bool
    others: frozenset[str]
    snap: bool
    root: bool
    apt: bool


@dataclass(frozen=True, slots=True)
class EngineStep:
    """What to do; or why nothing is done, and what the user can try."""

    action: Literal["start", "install", "refuse"]
    what: str = ""
    try_: str = ""


def decide(absence: NoEngine, facts: EngineFacts) -> EngineStep:
    """Decide how to get an engine without replacing another one; a pure function."""
    if absence.kind == "asked":
        return EngineStep(
            "refuse",
            "DOCKER_HOST is set, but no engine answers there",
            "start that engine or unset DOCKER_HOST",
        )
    if absence.kind == "denied":
        try_ = "run this with sudo, or `sudo usermod -aG docker $USER` and log in again"
        return EngineStep("refuse", "there is a Docker engine, but this user may not talk to it", try_)
    if facts.snap:
        return EngineStep(
            "refuse", "Docker is installed as a snap but does not answer", "`sudo snap start docker`"
        )
    if not facts.root:
        have = "is installed but not running" if facts.dockerd else "is not installed"
        return EngineStep("refuse", f"Docker {have}, and only root can change that", "run this with sudo")
    if facts.dockerd:
        return EngineStep("start")
    if facts.others:
        names = ", ".join(sorted(facts.others))
        try_ = "name your engine's Docker-compatible socket in DOCKER_HOST, or install Docker yourself"
        return EngineStep("refuse", f"{names} is installed, and the lab never displaces another engine", try_)
    if not facts.apt:
        return EngineStep(
            "refuse",
            "Docker is not installed, and this machine has no apt",
            "install Docker Engine, then run this again",
        )
    return EngineStep("install")


def ensure_engine(runner: Runner, packages: Packages, progress: Progress) -> Engine:
    """The engine that answers; it is started or installed if necessary. Raises WorldError with what to try."""
    found = find_engine(runner)
    if isinstance(found, Engine):
        return found
    with machine_lock("engine"):
        found = find_engine(runner)
        if isinstance(found, Engine):
            return found
        step = decide(found, gather(runner, packages))
        if step.action == "refuse":
            raise WorldError(step.what, where="Docker engine", last_state=found.detail, try_=step.try_)
        if step.action == "install":
            packages.install(["docker.io"], why="no Docker engine is installed")
            already = find_engine(runner)
            if isinstance(already, Engine):
                return already
        return _start(runner, progress)


def gather(runner: Runner, packages: Packages) -> EngineFacts:
    """Collect the facts of this machine."""
    return EngineFacts(
        dockerd=runner.find("dockerd") is not None,
        others=packages.installed(OTHER_ENGINES) | ({"podman"} if runner.find("podman") else frozenset()),
        snap=Path("/snap/bin/docker").exists(),
        root=is_root(),
        apt=packages.available,
    )


def _start(runner: Runner, progress: Progress) -> Engine:
    if has_systemd():
        with progress.step("starting the Docker engine (systemctl start docker)"):
            runner.run(["systemctl", "start", "docker"], timeout_s=SYSTEMCTL_TIMEOUT_S).require(
                "systemd could not start the Docker engine",
                where="docker.service",
                try_="`journalctl -u docker -n 50` tells why",
            )
            return _wait(runner, None, None)
    with progress.step("starting the Docker engine (dockerd)"):
        drop_stale_pid_file(PID_FILE, progress)
        log = state_dir() / "dockerd.log"
        log_start = log.stat().st_size if log.exists() else 0
        return _wait(runner, runner.detach([runner.find("dockerd") or "dockerd"], log), (log, log_start))


def has_systemd() -> bool:
    """True if systemd runs this machine (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def drop_stale_pid_file(path: Path, progress: Progress) -> None:
    """Remove the process id file of a dead dockerd if another program has its process id now.

    dockerd itself only checks whether *any* process has that id, and would refuse to start.
    """
    try:
        pid = int(path.read_text(encoding="ascii"))
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return
    if name != "dockerd":
        path.unlink(missing_ok=True)
        progress.note(f"removed {path}, left by an engine that died; process {pid} is {name}")


def _wait(runner: Runner, process: Detached | None, log: tuple[Path, int] | None) -> Engine:
    deadline = time.monotonic() + READY_TIMEOUT_S
    last = "it was not asked yet"
    while time.monotonic() < deadline:
        found = find_engine(runner)
        if isinstance(found, Engine):
            return found
        last = found.detail
        if process is not None and process.poll() is not None:
            raise _stopped(
                "the Docker engine stopped while it was starting", f"exit status {process.poll()}", log
            )
        time.sleep(POLL_S)
    if process is not None:
        process.terminate()
    raise _stopped(f"the Docker engine did not answer within {READY_TIMEOUT_S:.0f} s", last, log)


def _stopped(what: str, state: str, log: tuple[Path, int] | None) -> WorldError:
    if log is None:
        return WorldError(what, where="docker.service", last_state=state, try_="`journalctl -u docker -n 50`")
    path, offset = log
    with path.open("rb") as file:
        file.seek(offset)
        words = tail(file.read().decode("utf-8", "replace"))
    try_ = "fix what the engine reports, then run this again"
    return WorldError(what, where=str(path), last_state=f"{state}\n{words}", try_=try_)
