"""The fault catalogue: what it needs exists, every kind has a scenario, and the families are the four of the design."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from lab.faults import discover
from lab.faults.catalogue import catalogue
from lab.provision.machine import doctor
from lab.read.campaigns import load_campaign
from lab.read.compose_file import read_topology

HOME = Path(__file__).resolve().parents[2]
KINDS = sorted(discover())


def test_whatever_a_fault_needs_is_something_that_the_doctor_looks_for() -> None:
    known = {found.name for found in doctor.check_machine()}
    wanted = {need: kind for kind, fault in discover().items() for need in fault.needs}
    assert not {need: kind for need, kind in wanted.items() if need not in known}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_scenario_of_its_own(kind: str) -> None:
    scenario = load_campaign(HOME / "chaos" / "faults" / f"{kind.replace('_', '-')}.yaml")
    assert [spec.kind for spec in scenario.faults] == [kind]


def test_one_campaign_has_every_kind() -> None:
    campaign = load_campaign(HOME / "chaos" / "every-fault.yaml")
    assert {spec.kind for spec in campaign.faults} == set(KINDS)


def test_a_lacking_capability_is_said_in_the_catalogue() -> None:
    entries = {entry.kind: entry for entry in catalogue({"iptables": "not installed"})}
    assert entries["partition"].lacks == {"iptables": "not installed"}
    assert not entries["latency"].lacks


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_hits_services_of_the_stack_and_no_others(kind: str) -> None:
    fault = discover()[kind]
    target = TypeAdapter(fault).json_schema()["properties"]["target"]
    assert tuple(target.get("enum", [target.get("const")])) == fault.services
    assert set(fault.services) <= set(read_topology().measured)


def test_the_families_are_those_of_the_design() -> None:
    assert {entry.family for entry in catalogue()} == {"link", "network", "process", "resources"}
