"""Builds images with the engine's own builder; an image gets its name only when it is complete."""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound

from lab.errors import WorldError
from lab.host.machine.shell import Runner, tail
from lab.host.machine.state import cache_directory
from lab.provision.images.build_context import write_context
from lab.provision.images.drafts import draft_directory
from lab.provision.images.go_build import GoProgram, build_program
from lab.provision.images.image_specs import BuildSpec
from lab.provision.images.wheels import locked_files, wheelhouse
from lab.provision.machine.engine import Engine
from lab.provision.machine.progress import Progress, Step

BUILD_TIMEOUT_S = 600
# This is not the owner label: containers inherit the labels of their image, and a container that a user starts by hand
# belongs to the user.
CONTENT_LABEL = "chaos-soak-lab.content"


def image_id(client: docker.DockerClient, ref: str) -> str | None:
    """The id of the image with exactly this name, or None if the engine has none."""
    try:
        return str(client.images.get(ref).id)
    except ImageNotFound:
        return None


def build_image(
    build: BuildSpec, ref: str, base: Callable[[], str], engine: Engine, runner: Runner, progress: Progress
) -> str:
    """Build `ref` from its folder and return the image id; raises WorldError with the last lines of the build.

    `base` is called last, so that downloads and compilers can run while the base image is made.
    """
    with progress.step(f"building {ref}") as step, draft_directory(build.name) as draft:
        extra = _extra_files(build, runner, progress, step)
        tar = draft / "context.tar"
        write_context(tar, build.folder, extra)
        step.at("waiting for the base image", quiet=True)
        base_ref = base()
        step.at("sending the context")
        client = engine.client(BUILD_TIMEOUT_S)
        try:
            return _run_build(client, tar, ref, base_ref, step)
        except InterruptedError:
            raise
        except (APIError, DockerException, requests.RequestException, OSError) as error:
            raise _failed(ref, str(error), []) from error
        finally:
            client.close()


def _extra_files(build: BuildSpec, runner: Runner, progress: Progress, step: Step) -> Mapping[str, Path]:
    """The files that the recipe adds to the context: name in the context -> file."""
    match build.recipe:
        case "wheels":
            step.at("downloading Python packages")
            wheels = wheelhouse(locked_files(build.folder), runner)
            return {f"wheels/{path.name}": path for path in wheels.iterdir()}
        case "go":
            return {build.name: _go_binary(build, runner, progress, step)}
        case "plain":
            return {}


def _go_binary(build: BuildSpec, runner: Runner, progress: Progress, step: Step) -> Path:
    pins = "".join((build.folder / name).read_text(encoding="utf-8") for name in ("go.mod", "go.sum"))
    binary = cache_directory("go", _short_hash(pins + build.go_package)) / build.name
    if not binary.exists():
        program = GoProgram(build.name, build.folder, build.go_package, _version_flag(build.go_package, pins))
        build_program(program, binary, runner, progress, step)
    return binary


def _version_flag(package: str, pins: str) -> str:
    """The linker flag that sets a program's version, if it has the variable that Toxiproxy and compose use."""
    module = "/".join(package.split("/")[:4])
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} v(\S+)", pins, re.MULTILINE)
    return f"-X {module}.Version={found[1]}" if found else ""


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _run_build(client: docker.DockerClient, tar: Path, ref: str, base_ref: str, step: Step) -> str:
    content = ref.rpartition(":")[2]
    output: list[str] = []
    with tar.open("rb") as context:
        events = client.api.build(
            fileobj=context,
            custom_context=True,
            rm=True,
            forcerm=True,
            pull=False,
            decode=True,
            buildargs={"BASE_IMAGE": base_ref},
            labels={CONTENT_LABEL: content},
        )
        built = _follow(events, output, step, client, ref)
    repository, _, tag = ref.rpartition(":")
    client.api.tag(built, repository, tag)
    _drop_layers(client, output)
    return str(client.images.get(ref).id)


def _follow(events: Any, output: list[str], step: Step, client: docker.DockerClient, ref: str) -> str:
    """Read the events of the build until its end, and return the id of the image."""
    built = ""
    for event in events:
        text = str(event.get("stream", "")).strip()
        if text:
            output.append(text)
        step.at(text[:60] if text.startswith("Step ") else step.detail)
        built = str(event.get("aux", {}).get("ID", built))
        if "error" in event:
            _drop_layers(client, output)
            raise _failed(ref, str(event["error"]), output)
    step.at("")
    if not built:
        raise _failed(ref, "the engine ended the build without naming an image", output)
    return built


def _drop_layers(client: docker.DockerClient, output: list[str]) -> None:
    """Remove the untagged images that a build leaves behind: earlier stages, or the layers of a failed build.

    The engine keeps the layers of tagged images, and removes the parents of the images that are removed.
    """
    layers = [match[1] for line in output if (match := re.fullmatch(r"---> ([0-9a-f]{12})", line))]
    for layer in reversed(layers):
        try:
            if not client.images.get(layer).tags:
                client.images.remove(layer)
        except APIError:
            # It is part of a tagged image, or was removed with a later layer.
            continue


def _failed(ref: str, error: str, output: list[str]) -> WorldError:
    return WorldError(
        "an image could not be built",
        where=ref,
        last_state=tail("\n".join([*output, error])),
        try_="mend what the last lines say (often: no way to a package registry), then run this again",
    )
