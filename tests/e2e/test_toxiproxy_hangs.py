"""A real Toxiproxy whose control port hangs: heal brings the links back, in bounded time, and says how."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import docker
import pytest

from lab.faults.link.latency import Latency
from lab.faults.link.link_down import LinkDown
from lab.faults.process.freeze import Freeze
from lab.host.links import link_sockets
from lab.host.links.toxiproxy import TIMEOUT_S
from lab.host.network import namespaces
from lab.host.world import world_of
from lab.observe.clock import RunClock
from lab.ports import World
from lab.provision.stack import stack

REQUEST = b"POST / HTTP/1.1\r\nHost: qdrant\r\nContent-Length: 1000000000\r\n\r\n"
# What goes in until a server that does not read has filled every buffer on its way, is some 40 MB.
BLOCKED_S = 1.0

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may stop a container's process")


@contextmanager
def pouring(world: World, port: int) -> Iterator[None]:
    """A client of a proxy that sends until nothing more goes in, and stays so."""
    opened: list[socket.socket] = []

    def begin() -> None:
        namespace = link_sockets.namespace_of(link_sockets.find_proxy_process(world.containers, "toxiproxy"))
        namespaces.enter(namespace)
        os.close(namespace)
        opened.append(socket.create_connection(("127.0.0.1", port), BLOCKED_S))

    # A thread of its own, for one that has entered a namespace stays there.
    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    with opened[0] as client:
        client.sendall(REQUEST)
        with suppress(TimeoutError):
            while True:
                client.send(bytes(65536))
        yield


def test_a_toxic_that_cannot_be_removed_under_load_goes_with_its_proxy(
    client: docker.DockerClient, real_stack: stack.StackSpec
) -> None:
    """As in Shopify/toxiproxy#412 and #558: the removal waits for a write to a service that does not read."""
    heard: list[tuple[str, str, str]] = []
    world = world_of(client, real_stack.topology, RunClock())
    slow, frozen = Latency("qdrant", latency_ms=200, direction="upstream"), Freeze("qdrant")
    before, undo, thaw = slow.observe(world, None), slow.prepare(world), frozen.prepare(world)
    # A world of its own, as in another process: it knows nothing but the undo.
    healing = world_of(client, real_stack.topology, RunClock(), audit=lambda *said: heard.append(said))
    started_at = world.containers.state("toxiproxy").started_at
    try:
        slow.inject(world, undo)
        frozen.inject(world, thaw)
        with pouring(world, 6333):
            began = time.monotonic()
            Latency.heal(healing, undo)
            took_s = time.monotonic() - began
    finally:
        Freeze.heal(world, thaw)
    acts = [
        ("removed toxic", "proxy qdrant"),
        ("recreated", "proxy qdrant"),
        ("removed toxic", "proxy qdrant_grpc"),
    ]
    assert [(act, where) for act, where, _ in heard] == acts, heard
    assert "all toxics of this proxy go" in heard[1][2]
    assert TIMEOUT_S <= took_s < 2 * TIMEOUT_S
    assert world.containers.state("toxiproxy").started_at == started_at
    assert slow.observe(world, before).absent


def test_heal_restarts_a_toxiproxy_that_hangs(
    client: docker.DockerClient, real_stack: stack.StackSpec
) -> None:
    """Its process is stopped, so nothing at all is answered."""
    heard: list[tuple[str, str, str]] = []
    injecting = world_of(client, real_stack.topology, RunClock())
    down, slow = LinkDown("mcp"), Latency("qdrant", latency_ms=200)
    before = {fault: fault.observe(injecting, None) for fault in (down, slow)}
    undos = down.prepare(injecting), slow.prepare(injecting)
    down.inject(injecting, undos[0])
    slow.inject(injecting, undos[1])
    assert down.observe(injecting, before[down]).holds and slow.observe(injecting, before[slow]).holds
    os.kill(injecting.containers.state("toxiproxy").pid, signal.SIGSTOP)
    healing = world_of(client, real_stack.topology, RunClock(), audit=lambda *said: heard.append(said))
    Latency.heal(healing, undos[1])
    LinkDown.heal(healing, undos[0])
    assert "restarting" in [act for act, _, _ in heard]
    assert healing.proxies.toxics("qdrant") == []
    for fault in (down, slow):
        assert fault.observe(healing, before[fault]).absent
