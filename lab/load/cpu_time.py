"""The CPU time of the load generator, so that the lab's own load is not taken for a neighbour on the machine."""

from pathlib import Path

import docker

from lab.errors import FaultError
from lab.host.cgroups.cgroup_files import read_usage
from lab.host.cgroups.cgroups import cgroup_dir
from lab.host.labels import OWNER, OWNER_VALUE, STACK
from lab.host.system_errors import as_engine_silent
from lab.load.containers import ROLE, ROLE_VALUE


class LoadCpu:
    """Reads the CPU time of all k6 containers of one stack, those that have ended included.

    What a container used between the last reading and its end is not known, and missing.
    """

    def __init__(self, client: docker.DockerClient, project: str) -> None:
        self._client = client
        self._labels = [f"{OWNER}={OWNER_VALUE}", f"{STACK}={project}", f"{ROLE}={ROLE_VALUE}"]
        self._cgroups: dict[str, tuple[Path, Path]] = {}
        self._used_s: dict[str, float] = {}

    def read_s(self) -> float:
        """The CPU seconds until now. Raises WorldError if the engine does not answer."""
        with as_engine_silent("the containers of the load"):
            running = [
                str(found["Id"]) for found in self._client.api.containers(filters={"label": self._labels})
            ]
            for name in running:
                if name not in self._cgroups:
                    pid = int(self._client.api.inspect_container(name)["State"]["Pid"])
                    self._find(name, pid)
        for name in running:
            self._read(name)
        return sum(self._used_s.values())

    def _find(self, name: str, pid: int) -> None:
        try:
            if pid:
                self._cgroups[name] = cgroup_dir(pid, "cpu"), cgroup_dir(pid, "cpuacct")
        except FaultError:
            return  # It has just ended.

    def _read(self, name: str) -> None:
        try:
            if name in self._cgroups:
                self._used_s[name] = read_usage(*self._cgroups[name], 0.0).usage_us / 1e6
        except (FaultError, OSError):
            return  # It has just ended, and what was read before stays.
