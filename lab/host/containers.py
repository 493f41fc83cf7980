"""The containers of one stack, through the Docker engine's API; containers without the lab's labels are left alone."""

from collections.abc import Callable
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from lab.errors import FaultError, GoneError, WorldError
from lab.host.audit import Audit, unaudited
from lab.host.cgroups.cgroup_files import for_engine
from lab.host.labels import OWNER, OWNER_VALUE, SERVICE, STACK
from lab.host.machine.kernel import cgroup_version
from lab.host.patience import patiently
from lab.host.system_errors import ENGINE_ERRORS, as_engine_silent
from lab.ports import ContainerState, CpuQuota, MemoryLimit


class DockerContainers:
    """Implements `lab.ports.Containers` for the stack `project`; it calls `audit` before each action."""

    def __init__(self, client: docker.DockerClient, project: str, audit: Audit = unaudited) -> None:
        self._client = client
        self._api = client.api
        self._audit = audit
        self.project = project

    def state(self, service: str) -> ContainerState:
        """The state now; raises GoneError if the stack has no such container."""
        return _state(service, self._find(service).attrs)

    def inspect(self, service: str, container_id: str) -> ContainerState:
        """The state of exactly this container, from one call; raises GoneError if it was replaced."""
        return _state(service, self._inspect(service, container_id))

    def kill(self, service: str, container_id: str) -> None:
        """Send SIGKILL to the container's first process."""
        self._act(service, container_id, "killed", lambda: self._api.kill(container_id, "SIGKILL"))

    def terminate(self, service: str, container_id: str) -> None:
        """Send SIGTERM to the container's first process, which may need time, or ignore it."""
        self._act(service, container_id, "terminated", lambda: self._api.kill(container_id, "SIGTERM"))

    def start(self, service: str, container_id: str) -> None:
        """Start the container; it is fine if it runs already, also if it is paused: `unpause` ends that."""
        try:
            self._act(service, container_id, "started", lambda: self._api.start(container_id))
        except FaultError:
            if not self._paused(service, container_id):
                raise

    def restart(self, service: str, container_id: str, grace_s: int) -> None:
        """Send SIGTERM, after `grace_s` SIGKILL, then start the container again."""
        self._act(service, container_id, "restarted", lambda: self._api.restart(container_id, grace_s))

    def pause(self, service: str, container_id: str) -> None:
        """Freeze all processes of the container."""
        self._act(service, container_id, "paused", lambda: self._api.pause(container_id))

    def unpause(self, service: str, container_id: str) -> None:
        """Let the processes go on; it is fine if the container is not paused."""
        if not self._paused(service, container_id):
            return
        try:
            self._act(service, container_id, "thawed", lambda: self._api.unpause(container_id))
        except FaultError:
            # It may have been killed since the check: the engine thaws a container that it kills.
            if self._paused(service, container_id):
                raise

    def set_cpu_quota(self, service: str, container_id: str, quota: CpuQuota) -> None:
        """Set the CPU cap; a quota of -1 removes it."""
        limits = {"CpuPeriod": quota.period_us, "CpuQuota": quota.quota_us}
        self._update(service, container_id, "given a CPU quota", limits)

    def set_memory_limit(self, service: str, container_id: str, limit: MemoryLimit) -> None:
        """Set the limits of memory, and of memory and swap; the engine takes both at once. -1 removes a limit."""
        taken = for_engine(limit, cgroup_version())
        limits = {"Memory": taken.memory_bytes, "MemorySwap": taken.memory_and_swap_bytes}
        self._update(service, container_id, "given a memory limit", limits)

    def set_pids_max(self, service: str, container_id: str, pids_max: int) -> None:
        """Set the limit of processes and threads; -1 removes it."""
        self._update(service, container_id, "given a limit of processes", {"PidsLimit": pids_max})

    def logs(self, service: str) -> bytes:
        """The whole log of the service so far, with time stamps."""
        container = self._find(service)
        with as_engine_silent(f"log of {container.name}"):
            output: bytes = container.logs(timestamps=True)
        return output

    def _update(self, service: str, container_id: str, verb: str, limits: dict[str, int]) -> None:
        # docker-py's own `update` supports neither PidsLimit nor an absent memory limit (-1). Its client is a session
        # of requests, so the engine can be called directly.
        url = f"{self._api.base_url}/v{self._api.api_version}/containers/{container_id}/update"

        def update() -> None:
            answer = self._api.post(url, json=limits, timeout=self._api.timeout)
            if not answer.ok:
                raise APIError(answer.text.strip(), response=answer)

        detail = ", ".join(f"{name} {value}" for name, value in limits.items())
        self._act(service, container_id, verb, update, detail=detail)

    def _paused(self, service: str, container_id: str) -> bool:
        return bool(self._inspect(service, container_id)["State"]["Paused"])

    def _find(self, service: str) -> Container:
        labels = [f"{OWNER}={OWNER_VALUE}", f"{STACK}={self.project}", f"{SERVICE}={service}"]
        with as_engine_silent(f"containers of {service}"):
            # Without `ignore_removed`, a container that is removed during the listing makes the listing fail.
            found = self._client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
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

    def _inspect(self, service: str, container_id: str) -> dict[str, Any]:
        """The description of exactly this container, which must carry the lab's labels; ids are never used twice."""
        with as_engine_silent(f"container {container_id[:12]} of {service}"):
            try:
                attrs: dict[str, Any] = self._api.inspect_container(container_id)
            except NotFound:
                attrs = {}
        if not attrs:
            raise self._replaced(service, container_id)
        labels = attrs["Config"]["Labels"] or {}
        expected = {OWNER: OWNER_VALUE, STACK: self.project, SERVICE: service}
        if any(labels.get(name) != value for name, value in expected.items()):
            raise FaultError(
                f"the container {container_id[:12]} is not {service} of the stack {self.project}",
                where=str(attrs["Name"]),
                try_="nothing: containers without the lab's labels are left alone",
            )
        return attrs

    def _replaced(self, service: str, container_id: str) -> GoneError:
        now = self._find(service)
        return GoneError(
            f"{service} is no longer the same container; somebody replaced it",
            where=str(now.name),
            last_state=f"was {container_id[:12]}, is {now.short_id}",
            try_="run again with nothing else managing the stack",
        )

    def _act(
        self, service: str, container_id: str, verb: str, action: Callable[[], Any], detail: str = ""
    ) -> None:
        attrs = self._inspect(service, container_id)

        def audited() -> None:
            # Before each try, because the guardian may have taken over meanwhile.
            self._audit(verb, str(attrs["Name"]).lstrip("/"), detail)
            action()

        try:
            patiently(audited)
        except NotFound:
            raise self._replaced(service, container_id) from None
        except ENGINE_ERRORS as error:
            raise FaultError(
                f"{service} could not be {verb}",
                where=str(attrs["Name"]).lstrip("/"),
                last_state=str(error),
                try_="`lab status`",
            ) from error


def _state(service: str, attrs: dict[str, Any]) -> ContainerState:
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
        oom_killed=bool(state.get("OOMKilled", False)),
    )
