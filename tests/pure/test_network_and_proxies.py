"""No container of the lab has an IPv6 address of the world, or a proxy from the Docker client's configuration."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from lab import repository
from lab.errors import WorldError
from lab.host.labels import OWNER, OWNER_VALUE, SERVICE, STACK
from lab.host.proxy_variables import NO_PROXIES, PROXY_VARIABLES
from lab.load.containers import K6Containers
from lab.provision.machine.engine import Engine
from lab.provision.stack import network_check
from lab.truth import oneshot

TOPOLOGY: dict[str, Any] = yaml.safe_load(repository.COMPOSE_FILE.read_text(encoding="utf-8"))
ENGINE = Engine("unix:///x", "1", "1", "/")


@pytest.mark.parametrize("name", TOPOLOGY["services"])
def test_every_service_of_the_stack_has_the_proxies_blanked(name: str) -> None:
    environment = TOPOLOGY["services"][name]["environment"]
    assert {variable: environment[variable] for variable in PROXY_VARIABLES} == NO_PROXIES


def test_every_variable_that_the_docker_client_may_set_is_blanked() -> None:
    """The names under `proxies` in its configuration: httpProxy, httpsProxy, ftpProxy, noProxy, allProxy."""
    names = [f"{name}_PROXY" for name in ("HTTP", "HTTPS", "FTP", "NO", "ALL")]
    assert set(PROXY_VARIABLES) == {*names, *(name.lower() for name in names)}


class RecordingClient:
    """Takes the arguments of the container that is asked for, and makes none."""

    def __init__(self) -> None:
        self.containers, self.arguments = self, dict[str, Any]()

    def create(self, image: str, **arguments: Any) -> Any:
        self.arguments = arguments
        made = SimpleNamespace(
            start=lambda: None, put_archive=lambda *a: True, remove=lambda **k: None, name="x"
        )
        made.wait = lambda timeout: {"StatusCode": 0}
        made.get_archive = lambda path: (_tar(), None)
        return made


def _tar() -> list[bytes]:
    return [oneshot._archive({"output": b"done"})]


def test_containers_that_the_lab_makes_itself_have_the_proxies_blanked(tmp_path: Path) -> None:
    client: Any = RecordingClient()
    K6Containers(client, "k6", "project", "network", tmp_path).launch("0000", "normal.js", 1)
    assert NO_PROXIES.items() <= client.arguments["environment"].items()
    # docker-py would otherwise add them itself, beside the empty ones.
    assert client.arguments["use_config_proxy"] is False
    client.arguments.clear()
    oneshot.run_script(client, "image", "embed.py", [], files={}, timeout_s=1, project="project")
    assert NO_PROXIES.items() <= client.arguments["environment"].items()
    assert client.arguments["use_config_proxy"] is False


def test_the_networks_of_the_stack_are_made_without_ipv6() -> None:
    assert [network["enable_ipv6"] for network in TOPOLOGY["networks"].values()] == [False]


IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000004200fffe110002 0a 40 20 80     eth0
fd000000000000000000000000000002 0a 40 00 80     eth0
20010db8000000000000000000000002 0b 40 00 80     eth1
"""


def test_the_addresses_of_the_world_are_told_from_those_of_the_link_and_the_loopback() -> None:
    lines = IF_INET6.splitlines()
    assert network_check.global_addresses(lines) == ["fd00::2", "2001:db8::2"]
    assert network_check.global_addresses([*lines[:2], "", "torn"]) == []


def container(service: str, *, listed: str = "", pid: int = 0) -> Any:
    labels = {OWNER: OWNER_VALUE, STACK: "p", SERVICE: service}
    networks = {"p": {"GlobalIPv6Address": listed}}
    attrs = {
        "Id": f"id of {service}",
        "Name": f"/{service}",
        "Config": {"Labels": labels},
        "State": {"Pid": pid},
        "NetworkSettings": {"Networks": networks},
    }
    return SimpleNamespace(attrs=attrs)


@pytest.fixture
def stack_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that lets the engine know these containers."""

    def let(*containers: Any) -> None:
        client = SimpleNamespace(close=lambda: None)
        client.containers = SimpleNamespace(list=lambda **named: list(containers))
        monkeypatch.setattr(Engine, "client", lambda self: client)

    return let


def test_a_container_with_an_address_of_the_world_is_refused(stack_of: Any) -> None:
    stack_of(container("qdrant-net"), container("toxiproxy", listed="2001:db8::5"))
    with pytest.raises(WorldError, match="global IPv6 addresses") as raised:
        network_check.require_no_ipv6(ENGINE, "p")
    assert "toxiproxy: 2001:db8::5" in str(raised.value)
    assert "qdrant-net" not in str(raised.value)
    assert "lab down" in str(raised.value)


def test_an_address_that_only_the_containers_own_network_shows_is_refused(
    stack_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_check, "_lines", lambda path: IF_INET6.splitlines())
    stack_of(container("mcp-net", pid=4242))
    # The process is not the container's: the engine is elsewhere, and its numbers mean others here.
    network_check.require_no_ipv6(ENGINE, "p")
    own = (4242, "id of mcp-net")
    monkeypatch.setattr(network_check, "belongs", lambda *process: process == own)
    with pytest.raises(WorldError, match="mcp-net: 2001:db8::2, fd00::2"):
        network_check.require_no_ipv6(ENGINE, "p")


def test_a_stack_without_such_an_address_is_accepted(stack_of: Any) -> None:
    stack_of(container("qdrant-net"), container("toxiproxy"))
    network_check.require_no_ipv6(ENGINE, "p")
    assert network_check._lines(Path("/nowhere/if_inet6")) == []
