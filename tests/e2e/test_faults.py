"""One fault of each family on real containers: its whole life, and the same made to miss. `make sweep` tries all."""

import secrets
from collections.abc import Iterator
from dataclasses import replace

import docker
import pytest
from docker.models.containers import Container

from lab.errors import FaultError
from lab.faults import discover
from lab.host.labels import SERVICE, owned
from lab.host.world import world_of
from lab.observe.clock import RunClock
from lab.ports import World
from lab.provision.stack import stack
from tests.contract.examples import EXAMPLES, FAMILY
from tests.contract.fault_suite import Miss, check_life_cycle, check_void
from tests.e2e.misses import build, misses

IN_TEST = [kind for kind in FAMILY if kind in discover()]
MISSES = [
    pytest.param(kind, miss, id=f"{kind}-{name}") for kind in IN_TEST for name, miss in misses(kind).items()
]


@pytest.fixture(scope="module")
def world(client: docker.DockerClient, real_stack: stack.StackSpec) -> World:
    return world_of(client, real_stack.topology, RunClock())


@pytest.mark.parametrize("kind", IN_TEST)
def test_life_cycle_on_real_containers(kind: str, world: World) -> None:
    check_life_cycle(build(kind, EXAMPLES[kind]), world)


@pytest.mark.parametrize(("kind", "miss"), MISSES)
def test_a_fault_that_misses_is_never_in_force(kind: str, miss: Miss, world: World) -> None:
    check_void(build(kind, EXAMPLES[kind]), miss, world)


def test_a_disabled_proxy_is_refused(world: World) -> None:
    world.proxies.disable("qdrant")
    try:
        with pytest.raises(FaultError, match="disabled"):
            build("latency", EXAMPLES["latency"]).prepare(world)
    finally:
        world.proxies.enable("qdrant")


def test_what_is_not_ours_is_refused(world: World) -> None:
    state = world.containers.state("qdrant")
    with pytest.raises(FaultError, match=r"replaced|no longer"):
        world.containers.kill("qdrant", "0" * 64)
    assert world.containers.state("qdrant") == state


# Labels of a container that looks like the stack's: compose's alone, and the lab's with another stack's name.
STRANGERS = {
    "unlabelled": lambda project: {},
    "of another stack": lambda project: owned("lab-test-somebody-elses"),
}


@pytest.fixture(params=sorted(STRANGERS))
def strangers(
    client: docker.DockerClient, real_stack: stack.StackSpec, request: pytest.FixtureRequest
) -> Iterator[tuple[str, dict[str, Container]]]:
    """A project, and for each service a running container of it that is not the lab's to touch."""
    project, made = f"lab-test-{secrets.token_hex(3)}", {}
    try:
        for service in ("qdrant", "mcp", "toxiproxy", "qdrant-net", "mcp-net"):
            labels = {"com.docker.compose.project": project, SERVICE: service}
            made[service] = client.containers.create(
                real_stack.images["mcp"].ref,
                entrypoint=["sleep", "600"],
                name=f"{project}-{service}-1",
                labels={**labels, **STRANGERS[request.param](project)},
                network_mode="none",
            )
            made[service].start()
        yield project, made
    finally:
        for container in made.values():
            container.remove(force=True)


def test_a_container_without_the_labels_of_this_stack_is_refused_by_every_fault(
    client: docker.DockerClient,
    real_stack: stack.StackSpec,
    strangers: tuple[str, dict[str, Container]],
    world: World,
) -> None:
    """In a stack of the strangers' name nothing can be prepared; in ours no id of theirs is taken for ours."""
    project, made = strangers
    theirs = world_of(client, replace(real_stack.topology, project=project), RunClock())
    before = {name: client.api.inspect_container(str(one.id))["State"] for name, one in made.items()}
    for kind, fault in discover().items():
        for service in fault.services:
            with pytest.raises(FaultError):
                build(kind, {**EXAMPLES[kind], "target": service}).prepare(theirs)
    for act in (world.containers.kill, world.containers.pause, world.containers.start):
        with pytest.raises(FaultError, match="is not qdrant of the stack"):
            act("qdrant", str(made["qdrant"].id))
    assert {name: client.api.inspect_container(str(one.id))["State"] for name, one in made.items()} == before
