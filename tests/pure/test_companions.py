"""Faults of one step are refused where they overwrite or hide each other, or where the hold outlasts one of them."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.cli.fault import by_hand
from lab.errors import ScenarioError
from lab.faults import discover
from lab.model.lease import hold_max_s
from lab.model.plan import Plan
from lab.model.scenario import FaultSpec, Scenario
from lab.plan import schedule
from lab.read.campaigns import build_fault, load_campaign, scenario_of
from lab.read.strict_yaml import parse
from lab.read.targets import load_target
from tests.contract.examples import EXAMPLES

HOME = Path(__file__).resolve().parents[2]
TARGET = load_target(HOME / "compose" / "targets" / "workspace-qdrant-mcp")
KINDS = discover()
ABLE = {need: True for fault in KINDS.values() for need in fault.needs}
CAMPAIGN = {"name": "test", "why": "what stands together must be told apart", "duration": "12h"}
HOURS_S = 3600.0
Fault = tuple[str, dict[str, Any]]


def planned(scenario: Scenario, able: dict[str, bool] = ABLE) -> Plan:
    return schedule(scenario, TARGET, 1, capabilities=able, documents=1000, queries=200, corpus="test")


def campaign(faults: Sequence[Fault], hold: str = "10s") -> Scenario:
    """One step in which all these faults are in force together."""
    first, *others = [{"kind": kind, **params} for kind, params in faults]
    step = {**first, "hold": hold, "with": others}
    text = yaml.safe_dump({**CAMPAIGN, "faults": [step]}, sort_keys=False)
    return scenario_of(parse(text.encode(), "test.yaml"), KINDS)


def on(target: str, *kinds: str) -> list[Fault]:
    return [(kind, {"target": target}) for kind in kinds]


APART = [
    # Both write one setting, so that a heal out of its turn would leave the other's value behind.
    on("mcp", "cpu_cap", "cpu_cap"),
    on("mcp", "memory_cap", "memory_pressure"),
    on("mcp", "memory_cap", "oom_kill"),
    on("mcp", "memory_pressure", "oom_kill"),
    on("mcp", "fd_exhaustion", "connection_exhaustion"),
    on("qdrant", "disk_full", "disk_slow"),
    on("mcp", "rate_limit", "packet_loss"),
    [*on("toxiproxy", "rate_limit"), *on("qdrant", "packet_loss")],
    [*on("toxiproxy", "rate_limit"), *on("mcp", "rate_limit")],
    [*on("toxiproxy", "rate_limit"), *on("mcp", "latency")],
    [("packet_loss", {"target": "mcp", "direction": "outbound"}), *on("mcp", "rate_limit")],
    # One kind, whose proof sees the sum of both.
    [("packet_loss", {"target": "mcp"}), ("packet_loss", {"target": "mcp", "direction": "outbound"})],
    *(
        [(kind, {"target": "qdrant"}), (kind, {"target": "qdrant", "direction": "upstream"})]
        for kind in ("latency", "bandwidth", "slicer", "slow_close", "timeout", "limit_data", "reset_peer")
    ),
    # Other kinds that are seen by the same sign.
    on("qdrant", "latency", "bandwidth"),
    on("qdrant", "latency", "timeout"),
    on("qdrant", "bandwidth", "limit_data"),
    on("qdrant", "timeout", "reset_peer"),
    on("qdrant", "slow_close", "link_down"),
    on("mcp", "partition", "reject"),
    on("mcp", "partition", "packet_loss"),
    on("mcp", "dns_failure", "dns_nxdomain"),
    # Qdrant and the MCP server are measured from Toxiproxy, and Toxiproxy from the MCP server.
    [*on("toxiproxy", "packet_loss"), *on("qdrant", "packet_loss")],
    [*on("toxiproxy", "partition"), *on("mcp", "packet_loss")],
    [*on("toxiproxy", "partition"), *on("qdrant", "timeout")],
    [*on("toxiproxy", "packet_loss"), *on("mcp", "latency")],
    [*on("toxiproxy", "memory_pressure"), *on("mcp", "latency")],
    # Two that end or stop one service, and what ends with it.
    *(
        on("mcp", *pair)
        for pair in itertools.combinations(
            ("kill", "terminate", "restart", "freeze", "crash_loop", "oom_kill"), 2
        )
    ),
    on("mcp", "restart", "fd_exhaustion"),
    on("mcp", "cpu_saturation", "kill"),
    on("mcp", "memory_pressure", "crash_loop"),
    [*on("qdrant", "latency"), *on("toxiproxy", "restart")],
    [*on("toxiproxy", "freeze"), *on("mcp", "link_down")],
    on("toxiproxy", "partition", "kill"),
]
TOGETHER = [
    on("mcp", "cpu_cap", "cpu_saturation"),
    on("mcp", "cpu_cap", "memory_cap", "pids_cap"),
    [*on("qdrant", "kill"), *on("mcp", "cpu_cap")],
    [*on("qdrant", "kill"), *on("mcp", "kill")],
    [*on("qdrant", "latency"), *on("mcp", "latency")],
    [*on("qdrant", "packet_loss"), *on("mcp", "packet_loss")],
    [*on("qdrant", "rate_limit"), *on("mcp", "packet_loss")],
    [*on("qdrant", "cpu_saturation"), *on("mcp", "cpu_saturation")],
    [*on("mcp", "fd_exhaustion"), *on("qdrant", "connection_exhaustion")],
    on("qdrant", "latency", "slow_close"),
    on("qdrant", "latency", "limit_data"),
    on("qdrant", "slicer", "slow_close"),
    on("mcp", "partition", "dns_failure"),
    on("mcp", "reject", "packet_loss"),
    on("mcp", "restart", "cpu_cap"),
    on("qdrant", "freeze", "cpu_cap", "disk_full"),
    [*on("toxiproxy", "cpu_saturation"), *on("qdrant", "slow_close")],
    [*on("mcp", "kill"), *on("qdrant", "latency")],
    # What the sweeps and the tests of the guardian carry out.
    [(kind, EXAMPLES[kind]) for kind in ("slow_close", "packet_loss", "freeze", "memory_cap", "disk_full")],
    [*on("qdrant", "latency", "cpu_cap", "disk_full"), *on("mcp", "partition", "kill")],
]


def words(faults: Sequence[Fault]) -> str:
    return " + ".join(f"{kind} on {params['target']}" for kind, params in faults)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("faults", APART, ids=words)
def test_faults_that_would_overwrite_or_hide_each_other_are_refused(faults: list[Fault], order: int) -> None:
    with pytest.raises(ScenarioError, match="cannot be in force together") as caught:
        planned(campaign(faults[::order]))
    error = caught.value
    for one in faults:
        assert words([one]) in error.what
        # Each alone is fine, so that it is their standing together which is refused.
        assert planned(campaign([one])).faults()
    # Where the second of them stands.
    assert error.where.startswith("test.yaml:") and "step" in error.try_
    line = int(error.where.split(":")[1])
    text = yaml.safe_dump({**CAMPAIGN, "faults": []}, sort_keys=False)
    assert line > len(text.splitlines())


@pytest.mark.parametrize("faults", TOGETHER, ids=words)
def test_faults_that_can_be_told_apart_are_planned(faults: list[Fault]) -> None:
    assert [fault.kind for fault in planned(campaign(faults)).faults()] == [kind for kind, _ in faults]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_kind_stands_twice_at_one_target(kind: str) -> None:
    """Also one that states no resources, such as pids_cap."""
    one = (kind, EXAMPLES.get(kind, {}))
    with pytest.raises(ScenarioError, match=f"{kind} on .* and {kind} on .* cannot be in force together"):
        planned(campaign([one, one]))


@pytest.mark.parametrize(
    ("faults", "resource"),
    [
        (on("mcp", "cpu_cap", "cpu_cap"), "the CPU quota of mcp"),
        ([*on("toxiproxy", "partition"), *on("mcp", "packet_loss")], "the packets of mcp"),
        ([*on("qdrant", "slow_close"), *on("toxiproxy", "restart")], "the connection ends of qdrant"),
        (on("mcp", "kill", "terminate"), "the main process of mcp"),
        (on("mcp", "pids_cap", "pids_cap"), "the pids_cap of mcp"),
    ],
)
def test_the_message_names_what_two_faults_both_claim(faults: list[Fault], resource: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        planned(campaign(faults))
    assert caught.value.what.endswith(f"both act on or are measured by {resource}")


def test_any_two_companions_are_compared() -> None:
    with pytest.raises(ScenarioError, match="cpu_cap on mcp and cpu_cap on mcp"):
        planned(campaign([*on("qdrant", "latency"), *on("mcp", "cpu_cap", "reject", "cpu_cap")]))


def test_a_machine_that_lacks_what_the_faults_need_does_not_make_them_right() -> None:
    with pytest.raises(ScenarioError, match="cannot be in force together"):
        planned(campaign(on("mcp", "cpu_cap", "cpu_cap")), able={})


@pytest.mark.parametrize("path", sorted((HOME / "chaos").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_campaign_that_is_shipped_is_planned(path: Path) -> None:
    assert planned(load_campaign(path)).faults()


def lasting(kind: str, hold_s: float, beside: tuple[FaultSpec, ...] = ()) -> Scenario:
    fault = build_fault(kind, EXAMPLES.get(kind, {}), where="test", faults=KINDS)
    spec = FaultSpec(kind, fault.target, fault, hold_s, beside)
    return replace(campaign(on("mcp", "kill")), faults=(spec,), duration_s=24 * HOURS_S)


MORTAL = sorted(kind for kind, fault in KINDS.items() if math.isfinite(fault.lifetime_s))


def test_some_kinds_need_something_that_ends_by_itself_and_some_do_not() -> None:
    assert {"crash_loop", "dns_nxdomain", "memory_pressure"} <= set(MORTAL) < set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_hold_is_refused_exactly_where_it_outlasts_what_the_fault_needs(kind: str) -> None:
    if kind not in MORTAL:
        assert planned(lasting(kind, 20 * HOURS_S)).faults()
        return
    spec = lasting(kind, 60.0).faults[0]
    most_s = hold_max_s(spec, 60.0)
    assert 20 * 60 < most_s < 30 * 60
    (fault,) = planned(lasting(kind, most_s)).faults()
    assert fault.lease_s <= 30 * 60 + 0.01, "its last look comes before its processes have ended"
    with pytest.raises(ScenarioError, match=f"{kind} on .* ends by itself after 30 min") as caught:
        planned(lasting(kind, most_s + 1))
    assert "at most" in caught.value.try_ and caught.value.where == "test.yaml"


def test_a_companion_that_ends_by_itself_bounds_the_hold_of_all() -> None:
    kill = lasting("kill", 60.0).faults[0]
    companion = lasting("dns_nxdomain", 60.0).faults[0]
    assert planned(lasting("kill", HOURS_S)).faults()
    beside = (replace(companion, hold_s=None),)
    with pytest.raises(ScenarioError, match="dns_nxdomain on mcp"):
        planned(lasting("kill", HOURS_S, beside))
    assert hold_max_s(replace(kill, companions=beside), 60.0) < hold_max_s(companion, 60.0)


def test_looks_that_take_longer_than_a_companion_lasts_are_refused() -> None:
    slow = ("slicer", {"target": "qdrant", "toxicity": 0.2})
    with pytest.raises(ScenarioError, match="too long") as caught:
        planned(campaign([slow, *on("mcp", "dns_nxdomain")]))
    assert "step of its own" in caught.value.try_
    assert planned(campaign([slow])).faults() and planned(campaign(on("mcp", "dns_nxdomain"))).faults()


def test_a_fault_by_hand_is_held_to_the_same() -> None:
    """The arguments of `lab fault run` go through the same planner."""
    assert planned(by_hand("dns_nxdomain", ["target=mcp"], "25m")).faults()
    with pytest.raises(ScenarioError, match="ends by itself") as caught:
        planned(by_hand("dns_nxdomain", ["target=mcp"], "30m"))
    assert caught.value.where == "command line"
