"""Faults inside network namespaces: every service, both mechanisms of loss, and what is never touched."""

from typing import Any

import pytest

from lab.errors import FaultError, GoneError
from lab.faults import discover
from lab.model.undo import RemoveChain, RemoveQdisc
from lab.ports import Fault
from lab.ports.netns import Echoes
from lab.read.campaigns import build_fault
from tests.contract.fakes import fake_world
from tests.contract.fault_suite import check_life_cycle, check_missed

KINDS = sorted(kind for kind, fault in discover().items() if fault.family == "network")
SERVICES = ("qdrant", "mcp", "toxiproxy")
CHAINED = [kind for kind in KINDS if kind != "rate_limit"]


def build(kind: str, target: str = "qdrant", **params: Any) -> Fault:
    return build_fault(kind, {"target": target, **params}, where="tests", faults=discover())


@pytest.mark.parametrize("target", SERVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_life_cycle_on_every_service(kind: str, target: str) -> None:
    check_life_cycle(build(kind, target), fake_world())


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_wrong_network_it_is_missed(kind: str) -> None:
    check_missed(build(kind), build(kind, "mcp"), fake_world())


@pytest.mark.parametrize("loss", [0.05, 0.2, 0.9])
@pytest.mark.parametrize("direction", ["inbound", "outbound"])
@pytest.mark.parametrize("netem", [False, True])
def test_packets_are_lost_by_what_the_kernel_has(netem: bool, direction: str, loss: float) -> None:
    world = fake_world()
    world.netns.netem = netem  # type: ignore[attr-defined]
    fault = build("packet_loss", direction=direction, loss=loss)
    wanted = RemoveQdisc if netem and direction == "outbound" else RemoveChain
    assert isinstance(fault.prepare(world), wanted)
    check_life_cycle(fault, world)


def test_another_loss_than_the_promised_one_is_no_proof() -> None:
    promised, done, world = build("packet_loss", loss=0.5), build("packet_loss", loss=0.2), fake_world()
    before = promised.observe(world, None)
    done.inject(world, done.prepare(world))
    seen = promised.observe(world, before)
    assert not seen.holds and not seen.absent


def test_another_rate_than_the_promised_one_is_no_proof() -> None:
    promised, done, world = build("rate_limit"), build("rate_limit", rate_kbit_per_s=1500), fake_world()
    before = promised.observe(world, None)
    done.inject(world, done.prepare(world))
    assert not promised.observe(world, before).holds


@pytest.mark.parametrize("rate_kbit_per_s", [64, 1000, 10_000])
@pytest.mark.parametrize(("asked", "stall_ms"), [(0.4, 450), (0.6, 600), (0.8, 500), (0.2, 850)])
def test_an_asker_that_stands_still_is_no_limit(rate_kbit_per_s: int, asked: float, stall_ms: float) -> None:
    """The asker catches up later, so all requests are answered, over as long a time as with a limit."""
    fault, world = build("rate_limit", rate_kbit_per_s=rate_kbit_per_s), fake_world()
    before = fault.observe(world, None)

    def stalled(service: str, count: int, size_bytes: int, per_s: float, timeout_s: float) -> Echoes:
        due_ms, first = [1000 * number / per_s for number in range(count)], int(asked * count)
        sent_ms = due_ms[:first] + [max(at_ms, due_ms[first] + stall_ms) for at_ms in due_ms[first:]]
        # The last before the stall is heard after it.
        trips_ms = [stall_ms if number == first - 1 else 0.2 for number in range(count)]
        arrivals_ms = [sent + trip for sent, trip in zip(sent_ms, trips_ms, strict=True)]
        return Echoes(count, size_bytes, tuple(arrivals_ms), tuple(trips_ms))

    world.netns.echo = stalled  # type: ignore[method-assign]
    seen = fault.observe(world, before)
    assert not seen.holds, seen


@pytest.mark.parametrize("rate_kbit_per_s", [64, 300, 1000, 10_000])
def test_a_limit_holds_at_every_rate_that_is_accepted(rate_kbit_per_s: int) -> None:
    check_life_cycle(build("rate_limit", rate_kbit_per_s=rate_kbit_per_s), fake_world())


@pytest.mark.parametrize("kind", ["partition", "reject"])
def test_silence_without_a_count_is_no_proof(kind: str) -> None:
    """A server that is dead for another reason must not be taken for a rule in force."""
    fault, world = build(kind), fake_world()
    before = fault.observe(world, None)
    fault.inject(world, fault.prepare(world))
    world.netns.packets = lambda service, kind: 0  # type: ignore[method-assign]
    assert not fault.observe(world, before).holds


def test_a_device_with_a_discipline_of_its_own_is_refused() -> None:
    world = fake_world()
    world.netns.add_qdisc("qdrant", "net-qdrant", "eth0", "cake", ())
    with pytest.raises(FaultError, match="already"):
        build("rate_limit").prepare(world)
    discover()["rate_limit"].heal(world, RemoveQdisc("qdrant", "net-qdrant", "eth0", "tbf"))
    assert world.netns.qdiscs["qdrant"][0] == "cake"  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", CHAINED)
def test_each_chain_has_a_name_of_its_own_that_iptables_takes(kind: str) -> None:
    world, fault = fake_world(), build(kind)
    names = {fault.prepare(world).chain for _ in range(20)}  # type: ignore[union-attr]
    assert len(names) == 20
    assert all(len(name) <= 28 for name in names)


@pytest.mark.parametrize("kind", ["partition", "reject", "packet_loss"])
def test_the_control_port_of_toxiproxy_stays_open(kind: str) -> None:
    world, fault = fake_world(), build(kind, "toxiproxy")
    fault.inject(world, fault.prepare(world))
    (rules,) = world.netns.chains["toxiproxy"].values()  # type: ignore[attr-defined]
    assert [line for line in rules.lines[:2] if "8474 -j RETURN" in line] == list(rules.lines[:2])


@pytest.mark.parametrize("kind", CHAINED)
def test_a_replaced_network_is_said_to_be_gone_and_nothing_else_is_left(kind: str) -> None:
    world, fault = fake_world(), build(kind)
    undo = fault.prepare(world)
    fault.inject(world, undo)
    world.netns.holders["qdrant"] = "another"  # type: ignore[attr-defined]
    with pytest.raises(GoneError):
        type(fault).heal(world, undo)
    assert not world.netns.chains["qdrant"]  # type: ignore[attr-defined]


def test_the_name_server_that_denies_ends_with_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    world, fault = fake_world(), build("dns_nxdomain")
    undo = fault.prepare(world)
    fault.inject(world, undo)
    ended: list[str] = []

    def end(token: str) -> list[int]:
        ended.append(token)
        return []

    monkeypatch.setattr(world.processes, "end", end)
    type(fault).heal(world, undo)
    assert ended == [undo.token]  # type: ignore[union-attr]
