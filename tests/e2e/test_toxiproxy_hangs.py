"""A real Toxiproxy whose control port hangs, because its process is stopped: heal brings the links back."""

import os
import signal

import docker
import pytest

from lab.adapters.clock import RunClock
from lab.adapters.provision import stack
from lab.faults.latency import Latency
from lab.faults.link_down import LinkDown
from lab.wiring import world_of


def test_heal_restarts_a_toxiproxy_that_hangs(
    client: docker.DockerClient, real_stack: stack.StackSpec
) -> None:
    heard: list[tuple[str, str, str]] = []
    injecting = world_of(client, real_stack, RunClock())
    down, slow = LinkDown("mcp"), Latency("qdrant", latency_ms=200)
    before = {fault: fault.observe(injecting, None) for fault in (down, slow)}
    undos = down.prepare(injecting), slow.prepare(injecting)
    down.inject(injecting, undos[0])
    slow.inject(injecting, undos[1])
    assert down.observe(injecting, before[down]).holds and slow.observe(injecting, before[slow]).holds
    os.kill(injecting.containers.state("toxiproxy").pid, signal.SIGSTOP)
    # A world of its own, as in another process: it knows nothing but the undos.
    healing = world_of(client, real_stack, RunClock(), audit=lambda *said: heard.append(said))
    Latency.heal(healing, undos[1])
    LinkDown.heal(healing, undos[0])
    assert "restarting" in [act for act, _, _ in heard]
    assert healing.proxies.toxics("qdrant") == []
    for fault in (down, slow):
        assert fault.observe(healing, before[fault]).absent


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may stop a container's process")
