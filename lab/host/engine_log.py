"""The engine's own record of a run: container events while it goes on, the containers' logs at its end."""

import json
import threading
from pathlib import Path

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from lab.boundary import Caught, attempt
from lab.errors import FaultError, WorldError
from lab.host.containers import DockerContainers
from lab.host.labels import SERVICE, STACK
from lab.ports import Recorder

_ACTIONS = ("start", "die", "kill", "oom", "pause", "unpause", "restart", "stop", "destroy")


class EngineLog:
    """Journals every start, death and the like of the stack's containers, and keeps all events in `logs/`."""

    def __init__(
        self, client: docker.DockerClient, project: str, recorder: Recorder, directory: Path
    ) -> None:
        self._client, self._project, self._recorder, self._directory = client, project, recorder, directory
        self._deaths: list[tuple[str, str]] = []
        self._stopping = False
        self._stream = client.events(
            decode=True, filters={"type": "container", "label": f"{STACK}={project}"}
        )
        self._thread = threading.Thread(target=self._follow, name="engine-log", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self, services: tuple[str, ...]) -> None:
        """Stop following and keep each service's log as `logs/SERVICE.log`."""
        self._stopping = True
        self._stream.close()
        self._thread.join(timeout=5)
        containers = DockerContainers(self._client, self._project)
        for service in services:
            try:
                content = containers.logs(service)
            except (FaultError, WorldError, DockerException, RequestException) as error:
                content = f"no log could be had: {error}\n".encode()
            (self._directory / f"{service}.log").write_bytes(content)

    def died(self) -> list[tuple[str, str]]:
        """Why following ended, if it ended by itself."""
        return list(self._deaths)

    def _follow(self) -> None:
        ended = attempt(self._keep_events)
        # Closing the stream from another thread ends the iteration with one of several errors.
        if not self._stopping:
            why = str(ended) if isinstance(ended, Caught) else "the engine ended its stream of events"
            self._deaths.append(("engine_log", why))

    def _keep_events(self) -> None:
        with (self._directory / "docker-events.jsonl").open("a", encoding="utf-8") as file:
            for event in self._stream:
                file.write(json.dumps(event) + "\n")
                file.flush()
                self._journal(event)

    def _journal(self, event: dict[str, object]) -> None:
        actor = event.get("Actor")
        attributes = actor.get("Attributes", {}) if isinstance(actor, dict) else {}
        service, action = attributes.get(SERVICE), event.get("Action")
        if service and action in _ACTIONS:
            self._recorder.record(
                "container_event", service=service, action=action, exit_code=attributes.get("exitCode")
            )
