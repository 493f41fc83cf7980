"""A real tbf between two network namespaces: its limit is seen at all rates, and a lab that stands still is none."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from lab.faults.network.rate_limit import RateLimit
from lab.host.network import net_probes, netfilter
from lab.ports.netns import Echoes

ADDRESSES = ("192.0.2.1", "192.0.2.2")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Pair:
    """A caller's network and a service's, joined; what `RateLimit` needs of `lab.ports.Netns`."""

    def __init__(self, stack: ExitStack) -> None:
        (_, self.caller), (pid, self.service) = _network(stack), _network(stack)
        peer = ("type", "veth", "peer", "name", "eth0", "netns", str(pid))
        netfilter.run(self.caller, "ip", "link", "add", "eth0", *peer)
        for namespace, address in zip((self.caller, self.service), ADDRESSES, strict=True):
            netfilter.run(namespace, "ip", "addr", "add", f"{address}/24", "dev", "eth0")
            netfilter.run(namespace, "ip", "link", "set", "eth0", "up")

    def holder_id(self, service: str) -> str:
        return service

    def require_plain(self, service: str, device: str) -> None: ...

    def echo(self, service: str, count: int, size_bytes: int, per_s: float, timeout_s: float) -> Echoes:
        return net_probes.echo(self.caller, ADDRESSES[1], count, size_bytes, per_s, timeout_s)

    def add_qdisc(self, service: str, container_id: str, device: str, kind: str, options: Any) -> None:
        netfilter.add_qdisc(self.service, device, kind, options)

    def remove_qdisc(self, service: str, container_id: str, device: str, kind: str) -> None:
        netfilter.remove_qdisc(self.service, device, kind)


def _network(stack: ExitStack) -> tuple[int, int]:
    """A new network namespace: a process in it, and a handle."""
    sleeper = subprocess.Popen(["unshare", "--net", "sleep", "120"])
    stack.callback(sleeper.wait)
    stack.callback(sleeper.kill)
    own, end = os.stat("/proc/self/ns/net").st_ino, time.monotonic() + 10
    while os.stat(f"/proc/{sleeper.pid}/ns/net").st_ino == own:
        assert time.monotonic() < end
        time.sleep(0.01)
    handle = os.open(f"/proc/{sleeper.pid}/ns/net", os.O_RDONLY)
    stack.callback(os.close, handle)
    return sleeper.pid, handle


@pytest.fixture
def world() -> Iterator[Any]:
    with ExitStack() as stack:
        yield SimpleNamespace(netns=Pair(stack))


def look(fault: RateLimit, world: Any, before: Any, wanted: str) -> Any:
    """As a run does: looked for again while a busy machine spoils the look."""
    for _ in range(5):
        seen = fault.observe(world, before)
        if getattr(seen, wanted):
            break
    return seen


@pytest.mark.parametrize("rate_kbit_per_s", [64, 1000, 10_000])
def test_a_limit_is_seen_while_it_is_there(world: Any, rate_kbit_per_s: int) -> None:
    fault = RateLimit("qdrant", rate_kbit_per_s)
    before = look(fault, world, None, "absent")
    assert before.absent and not before.holds, before
    undo = fault.prepare(world)
    fault.inject(world, undo)
    during = look(fault, world, before, "holds")
    assert during.holds and not during.absent, during
    fault.heal(world, undo)
    after = look(fault, world, before, "absent")
    assert after.absent and not after.holds, after


@pytest.mark.parametrize(("after", "stall_s"), [(60, 0.6), (100, 0.55), (20, 0.85)])
def test_a_lab_that_stands_still_while_it_asks_sees_no_limit(
    world: Any, monkeypatch: pytest.MonkeyPatch, after: int, stall_s: float
) -> None:
    fault, packet = RateLimit("qdrant"), net_probes._packet
    before = look(fault, world, None, "absent")

    def late(mark: int, number: int, padding: bytes) -> bytes:
        time.sleep(stall_s if number == after else 0)
        return packet(mark, number, padding)

    monkeypatch.setattr(net_probes, "_packet", late)
    seen = fault.observe(world, before)
    assert not seen.holds, seen
    # Else it would not have been put to the test.
    assert seen.measured < 1.3 and "127 of 127 answers" in seen.detail, seen
