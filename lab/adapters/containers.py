"""The containers of one stack through the Docker engine's API; touches nothing without the lab's labels."""

from typing import Any

import docker
from docker.errors import DockerException
from docker.models.containers import Container
from requests.exceptions import RequestException

from lab.adapters.labels import OWNER, OWNER_VALUE, SERVICE, STACK
from lab.errors import FaultError, GoneError, WorldError
from lab.ports import ContainerState, CpuQuota


class DockerContainers:
    """Implements `lab.ports.Containers` for the stack `project`."""

    def __init__(self, client: docker.DockerClient, project: str) -> None:
        self._client = client
        self.project = project

    def state(self, service: str) -> ContainerState:
        """What the engine says now; raises WorldError where the stack has no such container."""
        attrs: dict[str, Any] = self._find(service).attrs
        state = attrs["State"]
        return ContainerState(
            service=service,
            id=attrs["Id"],
            name=attrs["Name"].lstrip("/"),
            running=bool(state["Running"]),
            paused=bool(state["Paused"]),
            pid=int(state["Pid"]),
            started_at=str(state["StartedAt"]),
            exit_code=int(state["ExitCode"]),
        )

    def kill(self, service: str, container_id: str) -> None:
        """SIGKILL to the container's first process."""
        self._act(service, container_id, "killed", lambda container: container.kill(signal="SIGKILL"))

    def start(self, service: str, container_id: str) -> None:
        """Start it; one that runs already is fine."""
        self._act(service, container_id, "started", lambda container: container.start())

    def set_cpu_quota(self, service: str, container_id: str, quota: CpuQuota) -> None:
        """Cap CPU time; a quota of -1 lifts the cap."""
        self._act(
            service,
            container_id,
            "capped",
            lambda container: container.update(cpu_period=quota.period_us, cpu_quota=quota.quota_us),
        )

    def logs(self, service: str) -> bytes:
        """Everything that the service wrote so far, with time stamps."""
        output: bytes = self._find(service).logs(timestamps=True)
        return output

    def _find(self, service: str) -> Container:
        labels = [f"{OWNER}={OWNER_VALUE}", f"{STACK}={self.project}", f"{SERVICE}={service}"]
        try:
            found = self._client.containers.list(all=True, filters={"label": labels})
        except (DockerException, RequestException) as error:
            raise WorldError(
                "the Docker engine does not answer", last_state=str(error), try_="`lab doctor`, then `lab up`"
            ) from error
        where = f"compose project {self.project}"
        if not found:
            raise GoneError(f"the stack has no container for {service!r}", where=where, try_="`lab up`")
        if len(found) > 1:
            raise WorldError(
                f"the stack has {len(found)} containers for {service!r}, not one",
                where=where,
                last_state=", ".join(f"{c.name} {c.status}" for c in found),
                try_="`lab down` and `lab up`",
            )
        return found[0]

    def _act(self, service: str, container_id: str, verb: str, action: Any) -> None:
        container = self._find(service)
        if container.id != container_id:
            raise GoneError(
                f"{service} is no longer the container that was to be {verb}; somebody replaced it",
                where=str(container.name),
                last_state=f"was {container_id[:12]}, is {container.short_id}",
                try_="run again with nothing else managing the stack",
            )
        try:
            action(container)
        except (DockerException, RequestException) as error:
            raise FaultError(
                f"{service} could not be {verb}",
                where=str(container.name),
                last_state=str(error),
                try_="`lab status`",
            ) from error
