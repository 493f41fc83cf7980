"""Runs a script in a one-shot container of the target's own image, without a network."""

import io
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path

import docker
from docker.errors import APIError, ImageNotFound
from docker.models.containers import Container

from lab.errors import WorldError
from lab.host.labels import owned
from lab.host.proxy_variables import NO_PROXIES
from lab.truth import in_image as in_image

SCRIPTS = Path(in_image.__file__).resolve().parent
PYTHON = "/opt/venv/bin/python"
OUTPUT = "/lab/output"
MEMORY_MAX = "2g"


def run_script(
    client: docker.DockerClient,
    image: str,
    script: str,
    arguments: list[str],
    *,
    files: dict[str, bytes],
    timeout_s: float,
    project: str,
) -> bytes:
    """Run `SCRIPTS/script` with `files` at `/lab/NAME`, and return its output; raises WorldError unless it exits 0."""
    try:
        container = client.containers.create(
            image,
            entrypoint=[PYTHON, f"/lab/{script}", *arguments, "--output", OUTPUT],
            network_mode="none",
            use_config_proxy=False,
            environment=NO_PROXIES,
            mem_limit=MEMORY_MAX,
            labels=owned(project),
        )
    except (APIError, ImageNotFound) as error:
        raise WorldError(
            "no container could be made", where=image, last_state=str(error), try_="`lab up`"
        ) from error
    try:
        container.put_archive("/", _archive({script: (SCRIPTS / script).read_bytes(), **files}))
        container.start()
        return _collect(container, script, timeout_s)
    finally:
        container.remove(force=True)


def _collect(container: Container, script: str, timeout_s: float) -> bytes:
    began = time.monotonic()
    try:
        status = int(container.wait(timeout=timeout_s)["StatusCode"])
    except (OSError, APIError) as error:
        waited = f"waited {time.monotonic() - began:.0f} s"
        raise WorldError(
            f"{script} did not end in time", where=str(container.name), last_state=waited
        ) from error
    if status != 0:
        stderr = container.logs(stdout=False, stderr=True).decode(errors="replace")[-1500:]
        raise WorldError(
            f"{script} failed inside the target's image", where=str(container.name), last_state=stderr
        )
    return _content(container.get_archive(OUTPUT)[0])


def _content(stream: Iterable[bytes]) -> bytes:
    """The content of the only file in the engine's tar stream."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        file = archive.extractfile(archive.next() or "")
        return file.read() if file else b""


def _archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo("lab")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o777
        archive.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(f"lab/{name}")
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
