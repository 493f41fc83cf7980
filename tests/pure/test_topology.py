"""The topology is what the compose file says; what the file does not say clearly is refused with its line."""

import re
from pathlib import Path

import pytest

from lab.errors import ScenarioError, WorldError
from lab.model.topology import Service, Topology
from lab.read.compose_file import default_ports, read_topology
from lab.read.plain_yaml import parse

COMPOSE = """
services:
  net:
    ports: ["127.0.0.1:${LAB_PORT_STORE:-16333}:6333"]
    x-lab: {role: network}
  store-0: &store
    network_mode: service:net
    x-lab: {role: store, peer: proxy, health: /readyz, page: /healthz}
    volumes: [{type: volume, source: data, target: /data}]
  store-1:
    <<: *store
    network_mode: none
  proxy:
    ports: ["127.0.0.1:${LAB_PORT_CONTROL:-18474}:8474", "127.0.0.1:${LAB_PORT_LINK:-16334}:6333"]
    x-lab: {role: proxy, health: /version, links: ./proxies.json}
  extra:
    profiles: [more]
    x-lab: {role: monitoring}
"""
PROXIES = '[{"name": "link", "listen": "0.0.0.0:6333", "upstream": "store-0:6333", "enabled": true}]'


def written(folder: Path, compose: str = COMPOSE, proxies: str = PROXIES) -> Path:
    (folder / "proxies.json").write_text(proxies)
    path = folder / "compose.yaml"
    path.write_text(compose)
    return path


def test_the_stack_of_the_lab() -> None:
    topology = read_topology("mine", ports={"mcp": 20001})
    assert topology.measured == ("qdrant", "toxiproxy", "mcp")
    assert topology.with_role("network") == ("qdrant-net", "mcp-net")
    assert {name: topology.network_of(name) for name in topology.measured} == {
        "qdrant": "qdrant-net",
        "mcp": "mcp-net",
        "toxiproxy": "toxiproxy",
    }
    assert topology.entrance.through == "http://127.0.0.1:20001" == topology.address("mcp")
    assert topology.entrance.inside == "http://toxiproxy:8000"
    assert topology.measured_from("toxiproxy") == ("qdrant", "mcp")
    assert topology.links_through("toxiproxy") == ("mcp", "qdrant", "qdrant_grpc")
    assert topology.beside("qdrant") == ("qdrant_grpc",) and topology.beside("mcp") == ()
    assert topology.store.data is not None
    assert topology.store.data.path == "/qdrant/storage"
    assert "grafana" not in topology.names
    assert "grafana" in read_topology(profiles=["grafana"]).names


def test_a_file_with_two_stores(tmp_path: Path) -> None:
    topology = read_topology("p", path=written(tmp_path), images={"data": Path("/image")})
    assert topology.with_role("store") == ("store-0", "store-1")
    store = topology.service("store-0")
    assert (store.network, store.peer, store.port) == ("net", "proxy", 6333)
    assert store.health == "http://127.0.0.1:16333/readyz"
    assert store.data is not None and store.data.image == Path("/image")
    link = topology.link("link")
    assert (link.through, link.direct, link.page) == (
        "http://127.0.0.1:16334",
        "http://127.0.0.1:16333",
        "/healthz",
    )
    assert topology.direct_address("proxy") == "http://127.0.0.1:18474", "a link's port is not its own"
    assert topology.names[-1] == "proxy", "a service whose profile is off is not there"
    assert default_ports(tmp_path / "compose.yaml") == {"store": 16333, "control": 18474, "link": 16334}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("role: network", "role: nothing", "x-lab.role"),
        ("role: network", "rolle: network", "rolle"),
        ("    x-lab: {role: network}\n", "", "x-lab"),
        ("127.0.0.1:${LAB_PORT_STORE:-16333}:6333", "0.0.0.0:6333:6333", "ports"),
        ("health: /readyz", "health: readyz", "health"),
        ("peer: proxy", "peer: nobody", "nobody"),
        ("service:net", "service:nobody", "nobody"),
        ("<<: *store", "<<: *nothing", "undefined alias"),
        ("services:", "services: [", "not YAML"),
    ],
)
def test_a_compose_file_that_is_wrong_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    path = written(tmp_path, COMPOSE.replace(old, new, 1))
    with pytest.raises(ScenarioError) as raised:
        read_topology(path=path)
    assert says in str(raised.value)
    assert re.search(r"compose\.yaml:\d+", raised.value.where)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"upstream": "store-0:6333"', '"upstream": "nobody:6333"'),
        ('"upstream": "store-0:6333"', '"upstream": "store-0:1"'),
        ('"listen": "0.0.0.0:6333"', '"listen": "0.0.0.0:1"'),
        ('"listen": "0.0.0.0:6333"', '"listen": "6333"'),
        ("[{", "[{{"),
    ],
)
def test_proxies_that_lead_nowhere_are_refused(tmp_path: Path, old: str, new: str) -> None:
    path = written(tmp_path, proxies=PROXIES.replace(old, new, 1))
    with pytest.raises(ScenarioError) as raised:
        read_topology(path=path)
    assert "proxies.json" in raised.value.where


def test_what_a_stack_does_not_have_is_a_clear_error() -> None:
    topology = Topology("mine", (Service("a", "monitoring", "a"),), (), ())
    for ask in (
        lambda: topology.target,
        lambda: topology.store,
        lambda: topology.proxy,
        lambda: topology.service("b"),
        lambda: topology.peer_of("a"),
        lambda: topology.link("b"),
        lambda: topology.link_to("a"),
        lambda: topology.port("b"),
        lambda: topology.direct_address("a"),
    ):
        with pytest.raises(WorldError) as raised:
            ask()
        assert raised.value.where == "stack mine"


def test_anchors_are_accepted_only_where_they_are_asked_for() -> None:
    text = b"a: &a {x: 1, y: 1}\nb: {<<: *a, y: 2}\nc: [*a]"
    with pytest.raises(ScenarioError, match="anchors"):
        parse(text, "test.yaml")
    value = parse(text, "test.yaml", anchors=True).value
    assert value == {"a": {"x": 1, "y": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1, "y": 1}]}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "&a {<<: *a}",
        "a: &a {<<: *a, b: 1}",
        "<<: 3",
        "<<: [{a: 1}]",
        "\n".join(
            ["a0: &a0 [1]", *(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 20)}]" for n in range(8))]
        ),
    ],
)
def test_aliases_that_make_a_short_text_endless_are_refused(text: str) -> None:
    with pytest.raises(ScenarioError):
        parse(text.encode(), "test.yaml", anchors=True)
