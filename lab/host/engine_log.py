"""The engine's own record of a run: container events while the run goes on, and the containers' logs at its end."""

import json
import threading
from pathlib import Path

import docker

from lab.boundary import Caught, attempt
from lab.errors import FaultError, WorldError
from lab.host.containers import DockerContainers
from lab.host.labels import SERVICE, STACK
from lab.host.system_errors import as_engine_silent
from lab.ports import Recorder

_ACTIONS = ("start", "die", "kill", "oom", "pause", "unpause", "restart", "stop", "destroy")
JOIN_TIMEOUT_S = 5.0


class EngineLog:
    """Journals every start, death and similar event of the stack's containers, and keeps all events in `logs/`."""

    def __init__(
        self, client: docker.DockerClient, project: str, recorder: Recorder, directory: Path
    ) -> None:
        self._client, self._project, self._recorder, self._directory = client, project, recorder, directory
        self._deaths: list[tuple[str, str]] = []
        self._stopping = False
        with as_engine_silent(f"events of the stack {project}"):
            self._stream = client.events(
                decode=True, filters={"type": "container", "label": f"{STACK}={project}"}
            )
        self._thread = threading.Thread(target=self._follow, name="engine-log", daemon=True)

    def start(self) -> None:
        """Begin to follow the events."""
        self._thread.start()

    def stop(self, services: tuple[str, ...]) -> None:
        """Stop following, and keep the log of each service as `logs/SERVICE.log`.

        Raises WorldError if a log cannot be written, after it has tried all services.
        """
        self._stopping = True
        # How docker-py closes the socket of a stream differs between its versions, and may fail.
        attempt(self._stream.close)
        if self._thread.is_alive():
            self._thread.join(JOIN_TIMEOUT_S)
        containers = DockerContainers(self._client, self._project)
        unwritten = [problem for service in services if (problem := self._keep(service, containers))]
        if unwritten:
            raise WorldError(
                "the logs of the containers cannot be kept",
                where=str(self._directory),
                last_state="; ".join(unwritten),
                try_="free disk space",
            )

    def died(self) -> list[tuple[str, str]]:
        """Why the events are no longer followed, if nobody called `stop`."""
        return list(self._deaths)

    def _keep(self, service: str, containers: DockerContainers) -> str:
        """Write the log of one service; returns what went wrong with the file, or nothing."""
        try:
            content = containers.logs(service)
        except (FaultError, WorldError) as error:
            content = f"the engine gave no log: {error}\n".encode()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            (self._directory / f"{service}.log").write_bytes(content)
        except OSError as error:
            return f"{service}.log: {error}"
        return ""

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

    def _journal(self, event: object) -> None:
        found = event if isinstance(event, dict) else {}
        actor = found.get("Actor")
        attributes = (actor.get("Attributes") or {}) if isinstance(actor, dict) else {}
        service, action = attributes.get(SERVICE), found.get("Action")
        if service and action in _ACTIONS:
            self._recorder.record(
                "container_event", service=service, action=action, exit_code=attributes.get("exitCode")
            )
