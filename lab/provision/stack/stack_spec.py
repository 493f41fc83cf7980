"""The specification of a stack: everything to start it again in the same way; it is kept in the state directory."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter

from lab.errors import ScenarioError, WorldError
from lab.host.machine.state import state_dir, write_json
from lab.model.quantities import parse_duration_s
from lab.model.topology import Topology
from lab.provision.images.drafts import remove_tree
from lab.provision.images.image_specs import ImageUsed
from lab.provision.stack.store_volume import Kind, StoreVolume
from lab.read.compose_file import read_topology
from lab.read.strict_yaml import checked, read

DEFAULT_PROJECT = "chaos-soak-lab"
PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,60}")
START_TIMEOUT = "120s"
# The name of the store's volume in the compose file.
STORE_VOLUME = "store"


@dataclass(frozen=True, slots=True)
class StackSpec:
    """One stack: its compose project, host ports by name, images by service, target and store volume."""

    project: str
    ports: Mapping[str, int]
    images: Mapping[str, ImageUsed]
    target_dir: Path
    store_volume: str
    store_kind: Kind
    grafana: bool
    environment: Mapping[str, str] = field(default_factory=dict)
    endpoint: str = "/mcp"
    start_timeout_s: float = parse_duration_s(START_TIMEOUT)

    @property
    def volume(self) -> StoreVolume:
        return StoreVolume(self.store_volume, self.project, self.store_kind)

    @property
    def profiles(self) -> tuple[str, ...]:
        """The compose profiles that are on."""
        return ("grafana",) if self.grafana else ()

    @property
    def topology(self) -> Topology:
        """What this stack consists of, read from the compose file."""
        images = {STORE_VOLUME: self.volume.image} if self.store_kind == "ext4" else {}
        return read_topology(self.project, ports=self.ports, profiles=self.profiles, images=images)

    @property
    def directory(self) -> Path:
        """The folder of this stack in the state directory."""
        return stacks_directory() / self.project


def _duration(text: str) -> str:
    parse_duration_s(text)
    return text


class TargetSettings(BaseModel):
    """The parts of `target.yaml` that are needed to start a target; `lab.read.targets` checks the rest."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    endpoint: str
    environment: dict[str, str] = {}
    start_timeout: Annotated[str, AfterValidator(_duration)] = START_TIMEOUT

    @property
    def start_timeout_s(self) -> float:
        """How long the target may take from its start until it answers, in seconds."""
        return parse_duration_s(self.start_timeout)


_SETTINGS = TypeAdapter(TargetSettings)


def target_settings(folder: Path) -> TargetSettings:
    """Read what is needed to start a target; raises ScenarioError, with file and line, if it is wrong."""
    try:
        return checked(read(folder / "target.yaml"), _SETTINGS)
    except ScenarioError as error:
        raise ScenarioError(
            f"the target folder cannot be used: {error.what}",
            where=error.where,
            last_state=error.last_state,
            try_=f"{error.try_}; `lab target check {folder}` lists all problems".removeprefix("; "),
        ) from error


def stacks_directory() -> Path:
    """The folder with the specifications of all stacks."""
    path = state_dir() / "stacks"
    path.mkdir(exist_ok=True)
    return path


def check_project(project: str) -> str:
    """The name, if it is safe as compose project, container prefix and file name; else raises ScenarioError."""
    if PROJECT.fullmatch(project):
        return project
    raise ScenarioError(
        "this is not a name for a stack",
        last_state=repr(project),
        try_="lower-case letters, digits, - and _, beginning with a letter or digit",
    )


def save(spec: StackSpec) -> None:
    """Write the specification and the target's compose file, each atomically."""
    value = asdict(spec) | {"target_dir": str(spec.target_dir)}
    write_json(spec.directory / "target.json", target_compose(spec.topology.target.name, spec.environment))
    write_json(spec.directory / "stack.json", value)


def load(project: str) -> StackSpec | None:
    """The specification of a stack that was planned before, or None."""
    path = stacks_directory() / check_project(project) / "stack.json"
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        images = {name: ImageUsed(**image) for name, image in value["images"].items()}
        return StackSpec(**{**value, "images": images, "target_dir": Path(value["target_dir"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WorldError(
            "the saved stack cannot be read",
            where=str(path),
            last_state=repr(error),
            try_="`lab down --all`, then `lab up`",
        ) from error


def saved_projects() -> list[str]:
    """The projects with a saved specification."""
    return sorted(path.parent.name for path in stacks_directory().glob("*/stack.json"))


def forget(project: str) -> None:
    """Delete the saved files of a stack; none is fine."""
    remove_tree(stacks_directory() / check_project(project))


def target_compose(service: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """A compose file with the environment of a target.

    It is no env file, because the rules for quotes and line ends in those differ between versions; here only `$` has a
    special meaning.
    """
    literal = {name: value.replace("$", "$$") for name, value in sorted(environment.items())}
    return {"services": {service: {"environment": literal}}}


def compose_variables(spec: StackSpec) -> dict[str, str]:
    """The LAB_ variables that `compose/compose.yaml` reads."""
    images = {f"LAB_IMAGE_{name.upper()}": image.ref for name, image in spec.images.items()}
    ports = {f"LAB_PORT_{name.upper()}": str(port) for name, port in spec.ports.items()}
    return {"LAB_PROJECT": spec.project, "LAB_STORE_VOLUME": spec.store_volume, **images, **ports}


Ports = Mapping[str, int] | Literal["free"] | None
