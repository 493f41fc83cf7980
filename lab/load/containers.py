"""Creates, checks and removes one k6 container per chunk, through the Docker engine."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException, NotFound
from docker.models.containers import Container
from docker.types import LogConfig, Mount

from lab.host.labels import OWNER, OWNER_VALUE, RUN, STACK, owned
from lab.host.proxy_variables import NO_PROXIES
from lab.model.encodable import encodable
from lab.repository import K6_SCRIPTS

ROLE = "chaos-soak-lab.role"
ROLE_VALUE = "load"
# Measured with k6 1.1.0: 45 MB for itself and about 0.3 MB per virtual user. The rest is a margin.
_MEMORY_BASE_MB, _MEMORY_PER_VU_MB = 192, 1.5
_PIDS_MAX = 256
BODIES_PER_KIND, BODIES_PER_CHUNK = 3, 300


@dataclass(frozen=True, slots=True)
class Exit:
    """How a chunk's container ended; `at_epoch_ms` is None where the engine does not report it."""

    code: int
    out_of_memory: bool
    at_epoch_ms: float | None


@dataclass(frozen=True, slots=True)
class K6Containers:
    """Creates the k6 containers of one stack. `directory` is the run's `load/`, which k6 sees as `/output`."""

    client: docker.DockerClient
    image: str
    project: str
    network: str
    directory: Path
    scripts: Path = K6_SCRIPTS

    @property
    def input_folder(self) -> Path:
        """The folder of inputs, which k6 sees as `/input`."""
        return self.directory / "input"

    def launch(self, name: str, script: str, vus: int) -> Container:
        """Create and start the container of chunk `name`; its input files must be there already."""
        container = self.client.containers.create(
            self.image,
            command=_arguments(name, script),
            entrypoint=["k6"],
            name=_container_name(self.project, self.directory.parent.name, name),
            labels={**owned(self.project), ROLE: ROLE_VALUE, RUN: self.directory.parent.name},
            network=self.network,
            mounts=[
                Mount("/k6", str(self.scripts), type="bind", read_only=True),
                Mount("/input", str(self.input_folder.resolve()), type="bind", read_only=True),
                Mount("/output", str(self.directory.resolve()), type="bind"),
            ],
            # The image's own user may not write into the run directory. The lab's user may.
            user=f"{os.getuid()}:{os.getgid()}",
            # Without it docker-py puts the proxies before ours, and the container has each variable twice.
            use_config_proxy=False,
            environment={**NO_PROXIES, "K6_NO_USAGE_REPORT": "true", "HOME": "/tmp"},
            log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "20m", "max-file": "2"}),
            mem_limit=f"{round(_MEMORY_BASE_MB + _MEMORY_PER_VU_MB * vus)}m",
            pids_limit=_PIDS_MAX,
            cap_drop=["ALL"],
            # Where k6 runs as root, it must be able to read a checkout that belongs to another user.
            cap_add=["DAC_OVERRIDE"],
            security_opt=["no-new-privileges"],
        )
        try:
            container.start()
        except DockerException:
            remove(container)
            raise
        return container

    def remove_leftovers(self) -> int:
        """Remove the load containers that a dead run of this stack left behind; they would double the load."""
        labels = [f"{OWNER}={OWNER_VALUE}", f"{STACK}={self.project}", f"{ROLE}={ROLE_VALUE}"]
        found = self.client.containers.list(all=True, filters={"label": labels})
        for container in found:
            remove(container)
        return len(found)


def _arguments(name: str, script: str) -> list[str]:
    return [
        *("run", "--quiet", "--no-color", "--log-format", "json"),
        *("-e", f"LAB_INPUT=/input/load-{name}.json"),
        *("--out", f"json=/output/points-{name}.json"),
        f"/k6/{script}",
    ]


def _container_name(project: str, run_id: str, chunk: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{project}-k6-{run_id}-{chunk}")


def remove(container: Container) -> None:
    """Remove a container and the processes in it; it is no error if the container is already gone."""
    with suppress(NotFound):
        container.remove(force=True)


def exit_of(container: Container) -> Exit | None:
    """How the container ended, or None while it runs."""
    container.reload()
    state: dict[str, Any] = container.attrs["State"]
    if state["Status"] not in ("exited", "dead"):
        return None
    finished = _epoch_ms(str(state.get("FinishedAt", "")))
    return Exit(int(state["ExitCode"]), bool(state.get("OOMKilled")), finished)


def _epoch_ms(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() * 1000
    except ValueError:
        return None


def keep_log(container: Container, directory: Path, chunk: str) -> list[str]:
    """Save k6's log (`k6-NNNN.log`) and the first failing bodies (`failures-NNNN.jsonl`); returns k6's errors."""
    log: bytes = container.logs()
    (directory / f"k6-{chunk}.log").write_bytes(log)
    failures, errors = _failures_and_errors(log)
    with (directory / f"failures-{chunk}.jsonl").open("w", encoding="utf-8") as file:
        for failure in failures:
            file.write(encodable(json.dumps({"chunk": chunk, **failure}, ensure_ascii=False)) + "\n")
    return errors


def _failures_and_errors(log: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    """The failing bodies, at most three of each (operation, layer, message), and the other errors in k6's log."""
    kept: list[dict[str, Any]] = []
    errors: list[str] = []
    times: Counter[tuple[str, str, str]] = Counter()
    for entry in _entries(log):
        failure = _failure_in(str(entry.get("msg", "")))
        if failure is None:
            errors += [str(entry.get("msg"))] if entry.get("level") in ("error", "fatal", "panic") else []
            continue
        kind = (str(failure.get("op")), str(failure.get("layer")), str(failure.get("message")))
        times[kind] += 1
        if times[kind] <= BODIES_PER_KIND and len(kept) < BODIES_PER_CHUNK:
            kept.append(failure)
    return kept, errors


def _entries(log: bytes) -> Iterator[dict[str, Any]]:
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            # A panic of k6, or a message of the engine.
            entry = {"level": "error", "msg": line.decode(errors="replace")}
        if isinstance(entry, dict):
            yield entry


def _failure_in(message: str) -> dict[str, Any] | None:
    if not message.startswith('{"lab_failure":'):
        return None
    try:
        failure = json.loads(message)["lab_failure"]
    except ValueError:
        return None
    return failure if isinstance(failure, dict) else None
