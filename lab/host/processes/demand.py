"""A process that the lab starts for one fault; it ends by itself.

Usage: `python -m lab.host.processes.demand lab-fault=TOKEN ACT ARGUMENT...`. It prints `ready` once it works; an error
before that appears on the same pipe.
"""

import ctypes
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lab.host.network.nameserver import delay, deny

CONNECT_PAUSE_S = 0.05
SPARE_FILES = 64
# After so many kills the process ends, even if its time is not over.
CRASHES_MAX = 2000


def ready() -> None:
    """Tell the parent that this process works now; the parent then closes the pipe."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def burn(cpu: str, cpuacct: str, burners: str, seconds: str) -> None:
    """Enter the CPU cgroups, and use a whole core with each of `burners` processes."""
    for entry in (cpu, cpuacct):
        Path(entry).write_text(str(os.getpid()), encoding="utf-8")
    end = time.monotonic() + float(seconds)
    for _ in range(int(burners) - 1):
        if os.fork() == 0:
            break
    else:
        ready()
    while time.monotonic() < end:
        sum(range(1000))


def connect(namespace: str, port: str, count: str, seconds: str) -> None:
    """Enter the network namespace and hold idle connections; a connection that the server closes is replaced."""
    if ctypes.CDLL(None, use_errno=True).setns(int(namespace), 0x40000000) != 0:  # CLONE_NEWNET, setns(2)
        raise OSError(ctypes.get_errno(), "setns")
    wanted = int(count) + SPARE_FILES
    hard = max(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    opened = (_open(int(port)) for _ in range(int(count)))
    connections = {connection.fileno(): connection for connection in opened}
    poll = select.poll()
    for number in connections:
        poll.register(number, select.POLLIN | select.POLLHUP | select.POLLERR)
    ready()
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        for number, _ in poll.poll(200):
            poll.unregister(number)
            connections.pop(number).close()
            new = _open(int(port))
            connections[new.fileno()] = new
            poll.register(new.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        # If the server closes at once, or is dead, this process must not use a whole core.
        time.sleep(CONNECT_PAUSE_S)


def _open(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    made.connect_ex(("127.0.0.1", port))
    return made


def crash(service: str, container_id: str, every_s: str, seconds: str) -> None:
    """Kill and start one container of the lab again and again."""
    # The engine's library is slow to import, and no other act needs it.
    import docker

    from lab.host.containers import DockerContainers
    from lab.host.labels import OWNER, OWNER_VALUE, STACK

    client = docker.from_env()
    labels = client.api.inspect_container(container_id)["Config"]["Labels"] or {}
    if labels.get(OWNER) != OWNER_VALUE:
        raise ValueError(f"container {container_id[:12]} is not the lab's")
    containers = DockerContainers(client, labels[STACK])
    end = time.monotonic() + float(seconds)
    ready()
    for _ in range(CRASHES_MAX):
        if time.monotonic() >= end:
            return
        containers.kill(service, container_id)
        containers.start(service, container_id)
        time.sleep(float(every_s))


def deny_names(udp: str, tcp: str, seconds: str) -> None:
    """Answer every DNS query with "no such name", on sockets that were bound inside the container's network."""
    ready()
    deny(udp, tcp, seconds)


def delay_names(udp: str, tcp: str, asking: str, delay_s: str, seconds: str) -> None:
    """Answer every DNS query late, with the answer of the resolver that `asking` is connected to."""
    ready()
    delay(udp, tcp, asking, delay_s, seconds)


ACTS: dict[str, Callable[..., None]] = {
    "burn": burn,
    "connect": connect,
    "crash": crash,
    "deny": deny_names,
    "delay": delay_names,
}


def main() -> None:
    """Run the act that the arguments name."""
    _, act, *arguments = sys.argv[1:]
    ACTS[act](*arguments)


if __name__ == "__main__":
    main()
