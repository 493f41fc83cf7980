"""Where an engine's processes and paths are: on this machine, or in a virtual machine, another container or a snap."""

import platform
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from lab.host.network.namespaces import belongs
from lab.provision.machine.engine import Engine

SOCKET_TIMEOUT_S = 2.0
DESKTOP = "Docker Desktop"
# A few containers show where the engine is as well as all.
ASKED_MAX = 3
SNAPS = ("/var/snap/", "/snap/")


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine says of itself, and what this machine sees of it.

    `peer` is the process behind the engine's socket (None if it cannot be asked, 0 if it is in another process
    namespace). `visible` says for each running container of the engine whether its first process is found here.
    """

    host: str
    operating_system: str
    kernel: str
    root_directory: str
    peer: int | None
    visible: Sequence[bool]
    own_kernel: str
    root_is_here: bool


@dataclass(frozen=True, slots=True)
class EnginePlace:
    """Why the engine's processes, and its paths, are not this machine's; empty where they are."""

    processes: str
    paths: str


def place_of(engine: Engine) -> EnginePlace:
    """Ask an engine and look for it here."""
    return judge_place(gather(engine))


def gather(engine: Engine) -> EngineFacts:
    """The facts about an engine; raises an exception of docker-py's where it does not answer."""
    client = engine.client()
    try:
        info = client.info()
        listed = [str(entry["Id"]) for entry in client.api.containers(filters={"status": "running"})]
        running = [attrs for one in listed[:ASKED_MAX] if (attrs := _inspected(client, one)) is not None]
    finally:
        client.close()
    processes = [(int(attrs["State"]["Pid"]), str(attrs["Id"])) for attrs in running]
    return EngineFacts(
        host=engine.host,
        operating_system=str(info.get("OperatingSystem", "")),
        kernel=str(info.get("KernelVersion", "")),
        root_directory=engine.root_directory,
        peer=_peer(engine.host),
        visible=[belongs(pid, container_id) for pid, container_id in processes if pid > 0],
        own_kernel=platform.release(),
        root_is_here=_exists(Path(engine.root_directory or "/")),
    )


def _inspected(client: docker.DockerClient, container_id: str) -> dict[str, Any] | None:
    try:
        attrs: dict[str, Any] = client.api.inspect_container(container_id)
    except NotFound:
        # It was removed since it was listed.
        return None
    return attrs


def _peer(host: str) -> int | None:
    """The id of the process that listens on the engine's socket, as this process sees it (unix(7), SO_PEERCRED)."""
    if not host.startswith("unix://"):
        return None
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(SOCKET_TIMEOUT_S)
            asking.connect(host.removeprefix("unix://"))
            credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return int(struct.unpack("3i", credentials)[0])
    except OSError:
        return None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        # Something is there, and this user may not look.
        return True


def judge_place(facts: EngineFacts) -> EnginePlace:
    """Where the engine is, by the facts. What a running container shows counts more than any name."""
    processes = _processes_elsewhere(facts)
    return EnginePlace(processes, _paths_elsewhere(facts, processes))


def _processes_elsewhere(facts: EngineFacts) -> str:
    if not facts.host.startswith("unix://"):
        return f"the engine runs on another machine ({facts.host})"
    if any(facts.visible):
        return ""
    if DESKTOP in facts.operating_system:
        return f"the engine runs in a virtual machine ({facts.operating_system})"
    if facts.kernel and facts.kernel != facts.own_kernel:
        return f"the engine runs on another kernel ({facts.kernel}, not {facts.own_kernel}), so in a virtual machine"
    if facts.peer == 0:
        return "the engine's socket is mounted into this container from outside"
    if facts.visible:
        return "the processes of the engine's containers are not visible here"
    return ""


def _paths_elsewhere(facts: EngineFacts, processes: str) -> str:
    if facts.root_directory.startswith(SNAPS):
        return (
            f"the engine is a snap ({facts.root_directory}), which sees only a part of this machine's folders"
        )
    if processes:
        return processes
    if facts.root_directory and not facts.root_is_here:
        return f"the engine's folder {facts.root_directory} is not on this machine"
    return ""
