"""Finds the Docker engine that answers; another installed engine is never replaced."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import docker
import requests
from docker.errors import DockerException

from lab.errors import WorldError
from lab.host.machine.shell import Runner

DEFAULT_SOCKET = "/var/run/docker.sock"
PING_TIMEOUT_S = 5
CLIENT_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answered: its address, versions and root directory."""

    host: str
    version: str
    api: str
    root_directory: str

    def client(self, timeout_s: int = CLIENT_TIMEOUT_S) -> docker.DockerClient:
        """A new client; docker-py's clients may not be shared between threads."""
        return docker.DockerClient(base_url=self.host, timeout=timeout_s, version="auto")

    @property
    def is_local(self) -> bool:
        """True if the engine runs on this machine, so that its volumes can be loop devices of the lab."""
        return self.host.startswith("unix://")

    @property
    def environment(self) -> dict[str, str]:
        """The environment with which the docker program uses exactly this engine."""
        return {"DOCKER_HOST": self.host}


@dataclass(frozen=True, slots=True)
class NoEngine:
    """Why no engine answered.

    `denied`: this user may not use it. `asked`: DOCKER_HOST names one that does not answer. `absent`: there is none.
    """

    kind: Literal["denied", "asked", "absent"]
    detail: str


def find_engine(runner: Runner) -> Engine | NoEngine:
    """The first engine that answers: only the one of DOCKER_HOST if it is set, else at the usual sockets.

    Its address is written to DOCKER_HOST, so that the docker program and libraries use the same engine.
    """
    wanted = os.environ.get("DOCKER_HOST")
    if wanted:
        found = _ask(wanted)
        return found if isinstance(found, Engine) else NoEngine("asked", f"{wanted}: {found.detail}")
    failures = []
    for host in _candidates(runner):
        found = _ask(host)
        if isinstance(found, Engine):
            os.environ["DOCKER_HOST"] = host
            return found
        failures.append(found)
    denied = [failure for failure in failures if failure.kind == "denied"]
    return (denied or failures)[0]


def _candidates(runner: Runner) -> Iterator[str]:
    yield f"unix://{DEFAULT_SOCKET}"
    context = runner.run(
        ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"], timeout_s=PING_TIMEOUT_S
    )
    address = context.stdout.strip()
    if context.ok and address.startswith("unix://") and address != f"unix://{DEFAULT_SOCKET}":
        yield address
    private = os.environ.get("XDG_RUNTIME_DIR")
    if private:
        yield f"unix://{private}/docker.sock"


def _ask(host: str) -> Engine | NoEngine:
    """Ask one address; any failure of docker-py to connect means that no engine is there."""
    try:
        client = docker.DockerClient(base_url=host, timeout=PING_TIMEOUT_S, version="auto")
    except (DockerException, requests.RequestException, ValueError, OSError) as error:
        return NoEngine("denied" if _denied(host, error) else "absent", _short(error))
    try:
        version, info = client.version(), client.info()
    except (DockerException, requests.RequestException, OSError) as error:
        return NoEngine("absent", f"it accepts connections but does not answer: {_short(error)}")
    finally:
        client.close()
    return Engine(
        host, str(version["Version"]), str(version["ApiVersion"]), str(info.get("DockerRootDir", ""))
    )


def _denied(host: str, error: Exception) -> bool:
    path = Path(host.removeprefix("unix://"))
    closed = host.startswith("unix://") and path.exists() and not os.access(path, os.R_OK | os.W_OK)
    return closed or "PermissionError" in repr(error)


def _short(error: Exception) -> str:
    return str(error)[:300]


def require_engine(runner: Runner) -> Engine:
    """The engine that answers; raises WorldError if there is none. It starts and installs nothing."""
    found = find_engine(runner)
    if isinstance(found, Engine):
        return found
    raise WorldError(
        "no Docker engine answers",
        where=os.environ.get("DOCKER_HOST", DEFAULT_SOCKET),
        last_state=found.detail,
        try_="`lab up`, which starts or installs one; `lab doctor` tells more",
    )
