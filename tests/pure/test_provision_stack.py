"""The stack's plan: ports, the one topology, the target's environment, and the files that keep them."""

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lab import repository
from lab.errors import ScenarioError, WorldError
from lab.host.machine import state
from lab.host.machine.shell import Subprocesses
from lab.provision.images import drafts
from lab.provision.images.image_specs import ImageUsed
from lab.provision.images.parallel import run_all
from lab.provision.machine.progress import Progress, ProgressEvent, as_text, silent
from lab.provision.stack import ports, stack_spec
from lab.read.compose_file import LOOPBACK, default_ports, read_topology

SOURCE = repository.COMPOSE_FILE.read_text(encoding="utf-8")
TOPOLOGY: dict[str, Any] = yaml.safe_load(SOURCE)
SERVICES: dict[str, dict[str, Any]] = TOPOLOGY["services"]
LABELS = {"chaos-soak-lab.owner", "chaos-soak-lab.stack"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_labelled_and_confined(name: str) -> None:
    service = SERVICES[name]
    assert set(service["labels"]) == LABELS
    assert service["pull_policy"] == "never"
    assert service["restart"] == "no"
    refused = {
        "build",
        "privileged",
        "pid",
        "ipc",
        "userns_mode",
        "cap_add",
        "devices",
        "depends_on",
    }
    assert not refused & set(service)
    assert all(port.startswith("127.0.0.1:${LAB_PORT_") for port in service.get("ports", []))
    # In the one network, or in that of its own holder; never in the host's.
    if "network_mode" in service:
        assert service["network_mode"] == f"service:{name}-net"
        assert SERVICES[f"{name}-net"]["networks"] == {"lab": {"aliases": [name]}}
    else:
        assert set(service["networks"]) == {"lab"}


def test_the_topology_as_a_whole() -> None:
    assert "docker.sock" not in SOURCE
    holders = {"qdrant-net", "mcp-net"}
    assert set(SERVICES) == {"qdrant", "toxiproxy", "mcp", "prometheus", "grafana", *holders}
    published = {
        port.split("{")[1].split(":")[0] for service in SERVICES.values() for port in service.get("ports", [])
    }
    assert published == {ports.variable(name) for name in default_ports()}
    assert set(TOPOLOGY["networks"]["lab"]["labels"]) == LABELS
    assert TOPOLOGY["volumes"]["store"]["external"] is True
    assert set(TOPOLOGY["volumes"]["metrics"]["labels"]) == LABELS
    binds = [
        mount
        for service in SERVICES.values()
        for mount in service.get("volumes", [])
        if mount["type"] == "bind"
    ]
    assert all(mount["read_only"] and (repository.COMPOSE / mount["source"]).exists() for mount in binds)


def test_every_variable_of_the_topology_is_set_by_the_lab(spec: stack_spec.StackSpec) -> None:
    asked = {part.split("}")[0].split(":")[0] for part in SOURCE.split("${")[1:]} - {
        "LAB_OWNER",
        "LAB_IMAGE_GRAFANA",
    }
    assert asked <= set(stack_spec.compose_variables(spec))


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> stack_spec.StackSpec:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "a state"))
    images = {
        name: ImageUsed(name, f"lab.local/{name}:1", "sha256:1", "built") for name in read_topology().names
    }
    return stack_spec.StackSpec(
        project="one",
        ports=dict(default_ports()),
        images=images,
        target_dir=tmp_path,
        store_volume="one_store",
        store_kind="plain",
        grafana=False,
        environment={"A": "$B"},
    )


def test_a_saved_stack_is_read_back_the_same(spec: stack_spec.StackSpec) -> None:
    assert stack_spec.load("one") is None
    stack_spec.save(spec)
    assert stack_spec.load("one") == spec
    assert stack_spec.saved_projects() == ["one"]
    stack_spec.forget("one")
    assert stack_spec.load("one") is None


@pytest.mark.parametrize("text", ["", "{", "{}", '{"images": {"mcp": 3}}'])
def test_a_damaged_stack_file_is_a_clear_error(spec: stack_spec.StackSpec, text: str) -> None:
    stack_spec.save(spec)
    (spec.directory / "stack.json").write_text(text)
    with pytest.raises(WorldError, match="saved stack"):
        stack_spec.load("one")


@pytest.mark.parametrize("name", ["", "../up", "A", "-x", "a b", "a" * 62, "a/b", "a\n"])
def test_a_project_name_that_could_escape_is_refused(name: str) -> None:
    with pytest.raises(ScenarioError):
        stack_spec.check_project(name)


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_a_targets_environment_survives_compose(environment: dict[str, str]) -> None:
    """`$$` is compose's only escape, and every `$` is one."""
    written = stack_spec.target_compose("mcp", environment)["services"]["mcp"]["environment"]
    assert {name: value.replace("$$", "$") for name, value in written.items()} == environment
    assert all(value.count("$") % 2 == 0 for value in written.values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "endpoint: /mcp\nenvironment: 3",
        "{",
        "environment: {}",
        "endpoint: x\nstart_timeout: soon",
        "endpoint: &a x",
    ],
)
def test_an_unusable_target_points_to_the_check(tmp_path: Path, text: str) -> None:
    (tmp_path / "target.yaml").write_text(text)
    with pytest.raises(ScenarioError, match="lab target check") as raised:
        stack_spec.target_settings(tmp_path)
    assert raised.value.where.startswith(f"{tmp_path / 'target.yaml'}:")


def test_a_target_may_say_more_than_its_start_needs(tmp_path: Path) -> None:
    (tmp_path / "target.yaml").write_text("endpoint: /mcp\nenvironment: {A: b}\nrate: 3\nstart_timeout: 2m\n")
    settings = stack_spec.target_settings(tmp_path)
    assert (settings.endpoint, settings.environment, settings.start_timeout_s) == ("/mcp", {"A": "b"}, 120.0)
    (tmp_path / "target.yaml").unlink()
    with pytest.raises(ScenarioError, match="cannot be read"):
        stack_spec.target_settings(tmp_path)


def test_ports_come_from_the_environment() -> None:
    assert ports.chosen_ports({}) == dict(default_ports())
    assert ports.chosen_ports({"LAB_PORT_MCP": "20001"})["mcp"] == 20001
    before = {"mcp": 30001, "qdrant": 30002}
    again = ports.chosen_ports({"LAB_PORT_MCP": "20001"}, defaults=before)
    assert (again["mcp"], again["qdrant"]) == (20001, 30002)
    for nonsense in ("http", "0", "70000", "-1", "1.5"):
        with pytest.raises(WorldError, match="LAB_PORT_QDRANT"):
            ports.chosen_ports({"LAB_PORT_QDRANT": nonsense})
    with pytest.raises(WorldError, match="share port"):
        ports.chosen_ports({"LAB_PORT_QDRANT": "18000"})


def test_free_ports_are_distinct_free_and_below_the_outgoing_range() -> None:
    found = ports.free_ports(default_ports(), taken=range(20_000, 20_500))
    assert len(set(found.values())) == len(default_ports())
    assert all(20_500 <= port < ports.ephemeral_from() for port in found.values())
    assert all(ports.is_free(port) for port in found.values())


def test_a_taken_port_is_named_with_its_holder_and_what_to_try() -> None:
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(WorldError) as raised:
            ports.require_free({"prometheus": port})
    text = str(raised.value)
    assert str(port) in text
    assert "LAB_PORT_PROMETHEUS" in text
    assert "process" in text


def test_drafts_of_dead_processes_are_swept_and_living_ones_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    with drafts.draft_directory("work") as living:
        dead = living.parent / "999999999.1-base-x"
        dead.mkdir()
        assert drafts.sweep_drafts() == [dead]
        assert living.is_dir()
        assert not dead.exists()
    assert not living.exists()


def test_mounts_are_found_deepest_first_and_with_spaces() -> None:
    lines = [
        "proc /a/root/proc proc rw 0 0",
        "x /a/root/with\\040space x rw 0 0",
        "x /a/rootless x rw 0 0",
        "x /a/root x rw 0 0",
    ]
    assert drafts.mounts_below(Path("/a/root"), lines) == ["/a/root/with space", "/a/root/proc", "/a/root"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    state.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        state.write_json(path, {"a": object()})
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]


def test_progress_of_a_step_shows_start_heartbeats_and_end() -> None:
    seen: list[ProgressEvent] = []
    beaten = Progress(seen.append, heartbeat_s=0.001)
    with beaten.step("work") as step:
        step.at("half")
        while len(seen) < 3:
            pass
    assert [seen[0].kind, seen[1].kind, seen[-1].kind] == ["start", "beat", "done"]
    assert "half" in as_text(seen[-1])
    with pytest.raises(ValueError, match="no"), beaten.step("more"):
        raise ValueError("no")
    assert seen[-1].kind == "failed"


def test_the_first_failure_stops_the_others() -> None:
    runner, progress = Subprocesses(), silent()

    def fail() -> None:
        raise WorldError("the first")

    def wait() -> None:
        runner.run(["sleep", "60"], timeout_s=90).require("stopped", try_="nothing")

    with pytest.raises(WorldError, match="the first"):
        run_all({"slow": wait, "bad": fail}, runner, progress)
    with pytest.raises(InterruptedError), progress.step("later") as step:
        step.at("somewhere")


def test_a_program_is_killed_when_its_time_is_up_and_a_missing_one_is_said() -> None:
    runner = Subprocesses()
    assert runner.run(["sleep", "60"], timeout_s=0.05).returncode == 124
    missing = runner.run(["no-such-program-here"], timeout_s=1)
    assert missing.returncode == 127
    with pytest.raises(WorldError, match="no-such-program"):
        missing.require("it failed", try_="install it")
