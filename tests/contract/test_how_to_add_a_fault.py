"""The worked example of docs/how-to/add-a-fault.md: its blocks, put where the page says, are a fault as any other."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lab.faults.network
from lab.faults import discover
from lab.faults.catalogue import catalogue
from lab.plan.conflicts import require_compatible
from lab.read.campaigns import build_fault, load_campaign
from tests.contract.fakes import fake_world
from tests.contract.fault_suite import check_life_cycle, check_missed
from tests.contract.how_to_pages import blocks_of, write_files

BLOCKS = blocks_of("add-a-fault.md")
EXAMPLE: dict[str, dict[str, Any]] = ast.literal_eval("{" + BLOCKS["tests/contract/examples.py"] + "}")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that holds the page's files at their places, seen by discovery beside the lab's own."""
    write_files(BLOCKS, tmp_path)
    folder = str(tmp_path / "lab" / "faults" / "network")
    monkeypatch.setattr(lab.faults.network, "__path__", [*lab.faults.network.__path__, folder])
    yield tmp_path
    sys.modules.pop("lab.faults.network.echo_loss", None)
    vars(lab.faults.network).pop("echo_loss", None)


def test_the_page_has_a_block_for_each_file_of_a_fault() -> None:
    assert sorted(BLOCKS) == [
        "chaos/faults/echo-loss.yaml",
        "lab/faults/network/echo_loss.py",
        "tests/contract/examples.py",
    ]
    assert "echo_loss" not in discover(), "the example must not exist already"


def test_discovery_finds_the_fault_and_the_catalogue_describes_it(checkout: Path) -> None:
    entry = next(entry for entry in catalogue() if entry.kind == "echo_loss")
    assert (entry.family, [one.unit for one in entry.parameters]) == ("network", ["share of packets"])


def test_it_lives_a_whole_life(checkout: Path) -> None:
    for target in discover()["echo_loss"].services:
        params = {**EXAMPLE["echo_loss"], "target": target}
        check_life_cycle(build_fault("echo_loss", params, where="page", faults=discover()), fake_world())


def test_it_is_never_in_force_where_it_misses(checkout: Path) -> None:
    meant = build_fault("echo_loss", EXAMPLE["echo_loss"], where="page", faults=discover())
    elsewhere = {**EXAMPLE["echo_loss"], "target": "qdrant"}
    check_missed(meant, build_fault("echo_loss", elsewhere, where="page", faults=discover()), fake_world())
    deaf = fake_world(deaf={"mcp"})
    before = meant.observe(deaf, None)
    meant.inject(deaf, meant.prepare(deaf))
    assert not meant.observe(deaf, before).holds


def test_its_scenario_is_read_and_can_be_planned(checkout: Path) -> None:
    scenario = load_campaign(checkout / "chaos" / "faults" / "echo-loss.yaml")
    assert [spec.kind for spec in scenario.faults] == ["echo_loss"]
    require_compatible(scenario.faults[0], "page")
