"""Toxiproxy's network namespace, and resets of the connections that Toxiproxy has open.

A published port leads through the engine's relay process, which turns a reset or a refused connect into an orderly
close. Therefore connections are measured from inside the namespace, which needs root.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

from lab.errors import FaultError
from lab.host.network.namespaces import belongs, host_namespaces
from lab.host.processes.process_handle import open_process, started_ticks
from lab.host.system_errors import as_fault_error
from lab.ports import Containers

# asm-generic/unistd.h; the C library has no name for it in Python 3.11.
SYS_PIDFD_GETFD = 438

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class ProxyProcess:
    """The Toxiproxy process of a stack, at the time when it was checked to be in its container."""

    pid: int
    started: float
    container_id: str


def find_proxy_process(
    containers: Containers, service: str, known: ProxyProcess | None = None
) -> ProxyProcess:
    """Toxiproxy's process, checked to be in the container with the lab's labels; raises FaultError if it is not.

    A process that is `known` from before is still the right one while it is in its container.
    """
    if (
        known is not None
        and started_ticks(known.pid) == known.started
        and belongs(known.pid, known.container_id)
    ):
        return known
    state = containers.state(service)
    started = started_ticks(state.pid) if state.running and state.pid > 0 else None
    if started is None:
        raise FaultError("Toxiproxy does not run", where=state.name, try_="`lab status`, then `lab up`")
    found = ProxyProcess(state.pid, started, state.id)
    if not belongs(found.pid, found.container_id) or containers.state(service) != state:
        raise FaultError(
            f"process {state.pid} is not in the container {state.id[:12]} any more",
            where=state.name,
            try_="run again with nothing else managing the stack",
        )
    return found


def namespace_of(process: ProxyProcess) -> int:
    """A file descriptor of Toxiproxy's network namespace, which the caller closes; the host's own is refused."""
    path = f"/proc/{process.pid}/ns/net"
    try:
        namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise FaultError(
            "Toxiproxy ended just now", where=path, last_state=str(error), try_="`lab status`"
        ) from error
    same = started_ticks(process.pid) == process.started
    if not same or os.fstat(namespace).st_ino in host_namespaces():
        os.close(namespace)
        raise FaultError(
            "that is not the network namespace of a container of the lab",
            where=path,
            try_="nothing: other namespaces are left alone",
        )
    return namespace


def reset_accepted(process: ProxyProcess, port: int) -> int:
    """Reset (RST) every connection that Toxiproxy has accepted on a port; returns how many there were.

    pidfd_getfd(2), of Linux 5.6, duplicates the sockets of the process. A connect(2) to AF_UNSPEC then dissolves the
    connection, which sends the reset; Toxiproxy reads an error and closes its side. Raises FaultError.
    """
    toxiproxy = open_process(process.pid, process.started)
    if toxiproxy is None:
        raise FaultError("Toxiproxy ended just now", where=f"process {process.pid}", try_="`lab status`")
    try:
        with as_fault_error(
            "the open connections of Toxiproxy cannot be reset",
            where=f"process {process.pid}",
            try_="`lab status`; run as root",
        ):
            return sum(_reset(borrowed, port) for borrowed in _duplicates(process.pid, toxiproxy.handle))
    finally:
        toxiproxy.close()


def _duplicates(pid: int, pidfd: int) -> Iterator[socket.socket]:
    directory = f"/proc/{pid}/fd"
    for name in os.listdir(directory):
        try:
            if not os.readlink(f"{directory}/{name}").startswith("socket:"):
                continue
        except OSError:
            continue
        number = _libc.syscall(SYS_PIDFD_GETFD, pidfd, int(name), 0)
        if number < 0 and ctypes.get_errno() not in (9, 3):  # EBADF, ESRCH: closed since it was listed
            raise FaultError(
                "the open connections of Toxiproxy cannot be reset",
                where=f"process {pid}",
                last_state=os.strerror(ctypes.get_errno()),
                try_="be root, on Linux 5.6 or newer",
            )
        if number >= 0:
            with closing(socket.socket(fileno=number)) as borrowed:
                yield borrowed


def _reset(borrowed: socket.socket, port: int) -> bool:
    with suppress(OSError):  # not TCP, or the listening socket, which has no peer
        borrowed.getpeername()
        if borrowed.family in (socket.AF_INET, socket.AF_INET6) and borrowed.getsockname()[1] == port:
            unspecified = struct.pack("H14x", socket.AF_UNSPEC)
            return bool(_libc.connect(borrowed.fileno(), unspecified, len(unspecified)) == 0)
    return False
