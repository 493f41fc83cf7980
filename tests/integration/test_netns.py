"""Rules, queueing disciplines and probes in a network namespace of the test's own, without any container."""

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.errors import FaultError
from lab.host.network import namespaces, net_probes, netfilter
from lab.host.network.nameserver import denial
from lab.host.network.netns import _bound, _bound_and_asking, chain_prefix
from lab.ports import ContainerState
from lab.ports.netns import Rules

HOME = Path(__file__).resolve().parents[2]
DROP = Rules(
    "filter", "LAB-partition-abc123", ("INPUT -p tcp --dport 9", "OUTPUT -d 192.0.2.1"), ("-j DROP",)
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def namespace() -> Iterator[int]:
    """A new network namespace with its loopback up."""
    with ExitStack() as stack:
        sleeper = subprocess.Popen(["unshare", "--net", "sleep", "120"])
        stack.callback(sleeper.wait)
        stack.callback(sleeper.kill)
        own = os.stat("/proc/self/ns/net").st_ino
        end = time.monotonic() + 10
        while os.stat(f"/proc/{sleeper.pid}/ns/net").st_ino == own:
            assert time.monotonic() < end
            time.sleep(0.01)
        handle = os.open(f"/proc/{sleeper.pid}/ns/net", os.O_RDONLY)
        stack.callback(os.close, handle)
        netfilter.run(handle, "ip", "link", "set", "lo", "up")
        yield handle


def saved(namespace: int) -> str:
    return netfilter.run(namespace, "iptables-save", "-t", "filter")


def test_a_chain_comes_and_goes_and_leaves_the_rules_of_others(namespace: int) -> None:
    netfilter.run(namespace, "iptables", "-A", "INPUT", "-s", "192.0.2.7", "-j", "DROP")
    before = [line for line in saved(namespace).splitlines() if line.startswith("-A")]
    netfilter.add_chain(namespace, DROP)
    assert saved(namespace).count(DROP.chain) == 4
    assert netfilter.remove_chain(namespace, "filter", DROP.chain)
    assert not netfilter.remove_chain(namespace, "filter", DROP.chain)
    assert [line for line in saved(namespace).splitlines() if line.startswith("-A")] == before


def test_a_transaction_with_a_wrong_rule_changes_nothing(namespace: int) -> None:
    with pytest.raises(FaultError, match="refuses"):
        netfilter.add_chain(namespace, Rules("filter", "LAB-x-1", ("INPUT",), ("-j DROP", "-j NOWHERE")))
    assert "LAB-" not in saved(namespace)


def test_dropped_and_refused_connects_are_told_apart_and_counted(namespace: int) -> None:
    there = ("127.0.0.1", 9)
    assert net_probes.connects(namespace, there, 2, 0.3) == ["refused", "refused"]
    netfilter.add_chain(namespace, DROP)
    assert net_probes.connects(namespace, there, 2, 0.3) == ["silent", "silent"]
    assert netfilter.packets(namespace, chain_prefix("partition")) >= 2
    assert netfilter.packets(namespace, chain_prefix("reject")) == 0


def test_echoes_are_counted_and_lost(namespace: int) -> None:
    clean = net_probes.echo(namespace, "127.0.0.1", 100, 64, 1000.0, 0.3)
    assert clean.lost_share == 0 and len(clean.arrivals_ms) == 100
    rule = "-p icmp --icmp-type echo-request -m statistic --mode nth --every 2 --packet 0 -j DROP"
    netfilter.add_chain(namespace, Rules("filter", "LAB-packet-loss-1", ("INPUT",), (rule,)))
    assert net_probes.echo(namespace, "127.0.0.1", 100, 64, 1000.0, 0.3).lost_share == 0.5


def test_only_the_labs_own_discipline_is_removed(namespace: int) -> None:
    netfilter.run(namespace, "tc", "qdisc", "add", "dev", "lo", "root", "tbf", *RATE)
    assert not netfilter.remove_qdisc(namespace, "lo", "tbf")
    netfilter.run(namespace, "tc", "qdisc", "del", "dev", "lo", "root")
    netfilter.add_qdisc(namespace, "lo", "tbf", RATE)
    assert netfilter.qdisc_kind(namespace, "lo") == ("tbf", netfilter.HANDLE)
    assert netfilter.remove_qdisc(namespace, "lo", "tbf")
    assert netfilter.qdisc_kind(namespace, "lo")[0] in netfilter.PLAIN


RATE = ("rate", "1mbit", "burst", "3200", "latency", "200ms")


def test_the_denying_name_server_answers_inside_by_both_protocols(namespace: int) -> None:
    udp, tcp = namespaces.inside(namespace, _bound)
    port, handles = udp.getsockname()[1], (udp.fileno(), tcp.fileno())
    command = [
        sys.executable,
        "-m",
        "lab.host.processes.demand",
        "lab-fault=test",
        "deny",
        *map(str, handles),
        "20",
    ]
    server = subprocess.Popen(command, pass_fds=handles, stdout=subprocess.PIPE, text=True, cwd=HOME)
    try:
        assert server.stdout is not None and server.stdout.readline() == "ready\n"
        _nat(namespace, port)
        assert net_probes.resolve(namespace, "anything.example", 1.0) == "no_such_name"
        question = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\x01a\x00\x00\x01\x00\x01"
        with namespaces.sockets(namespace, 1, socket.SOCK_STREAM)[0] as asker:
            asker.settimeout(2)
            asker.connect(("127.0.0.1", port))
            asker.sendall(struct.pack("!H", len(question)) + question)
            assert asker.recv(100)[5] & 0xF == 3
    finally:
        server.kill()
        server.communicate()
        udp.close()
        tcp.close()
    assert net_probes.resolve(namespace, "anything.example", 0.2) == "failed"


def test_the_slow_name_server_passes_the_resolvers_answer_on_after_its_delay(namespace: int) -> None:
    """By both protocols; its own questions pass the rules that lead all others to it."""
    sockets = [*namespaces.inside(namespace, _bound_and_asking), namespaces.inside(namespace, _resolver)]
    port, asks_from, handles = (
        sockets[0].getsockname()[1],
        sockets[2].getsockname()[1],
        tuple(one.fileno() for one in sockets[:3]),
    )
    act = ["lab-fault=test", "delay", *map(str, handles), "0.5", "20"]
    command = [sys.executable, "-m", "lab.host.processes.demand", *act]
    server = subprocess.Popen(command, pass_fds=handles, stdout=subprocess.PIPE, text=True, cwd=HOME)
    answering = threading.Thread(target=_answer_all, args=(sockets[3],))
    answering.start()
    try:
        assert server.stdout is not None and server.stdout.readline() == "ready\n"
        assert _timed(namespace) < 0.3
        _nat(namespace, port, f"-p udp --sport {asks_from} -j RETURN")
        assert 0.5 <= _timed(namespace) < 1.5
        began = time.monotonic()
        with namespaces.sockets(namespace, 1, socket.SOCK_STREAM)[0] as asker:
            asker.settimeout(3)
            asker.connect(("127.0.0.1", port))
            asker.sendall(struct.pack("!H", 3) + b"bad")
            assert asker.recv(100) == b""
        with namespaces.sockets(namespace, 1, socket.SOCK_STREAM)[0] as asker:
            asker.settimeout(3)
            asker.connect(("127.0.0.1", port))
            asker.sendall(struct.pack("!H", len(QUESTION)) + QUESTION)
            answer = asker.recv(100)
        assert (answer[2:4], answer[5] & 0xF) == (QUESTION[:2], 3)
        assert time.monotonic() - began >= 0.5
    finally:
        server.kill()
        server.communicate()
        answering.join(5)
        for one in sockets:
            one.close()


QUESTION = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\x01a\x00\x00\x01\x00\x01"


def _timed(namespace: int) -> float:
    """How many seconds it takes until the resolver denies a name."""
    began = time.monotonic()
    assert net_probes.resolve(namespace, "anything.example", 2.0) == "no_such_name"
    return time.monotonic() - began


def _resolver() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(net_probes.RESOLVER)
    made.settimeout(10)
    return made


def _answer_all(resolver: socket.socket) -> None:
    for _ in range(3):
        question, asker = resolver.recvfrom(4096)
        resolver.sendto(denial(question), asker)


def _nat(namespace: int, port: int, *first: str) -> None:
    line = f"-p udp --dport 53 -j DNAT --to-destination 127.0.0.1:{port}"
    netfilter.add_chain(namespace, Rules("nat", "LAB-dns-1", ("OUTPUT -d 127.0.0.11",), (*first, line)))


def test_the_hosts_own_network_is_refused() -> None:
    """A process of the host's network, as of a container with host networking."""
    cgroup = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()[0].rpartition(":")[2]
    state = ContainerState("mcp", cgroup, "mcp", True, False, os.getpid(), "", 0)
    with (
        pytest.raises(FaultError, match="host's own network"),
        namespaces.namespace_of(state),
    ):
        raise AssertionError("entered")


def test_a_process_that_is_not_in_the_container_is_refused(namespace: int) -> None:
    state = ContainerState("mcp", "0" * 64, "mcp", True, False, os.getpid(), "", 0)
    with pytest.raises(FaultError, match="ended"), namespaces.namespace_of(state):
        raise AssertionError("entered")
