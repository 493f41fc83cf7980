"""Network namespaces of the lab's containers: opened after checks, and entered only by threads made for it."""

import ctypes
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from lab.errors import FaultError, GoneError
from lab.host.processes.process_handle import started_ticks
from lab.host.system_errors import as_fault_error
from lab.ports import ContainerState

# bits/sched.h; the C library has no name for it in Python 3.11.
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def belongs(pid: int, container_id: str) -> bool:
    """True if a process is in a cgroup of that container."""
    try:
        return container_id in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def host_namespaces() -> set[int]:
    """The inodes of the namespaces that are never entered: the lab's own, and the first process's if it can be read."""
    found = {os.stat("/proc/self/ns/net").st_ino}
    # Inside a container without all capabilities, even root may not read that of the first process.
    with suppress(PermissionError):
        found.add(os.stat("/proc/1/ns/net").st_ino)
    return found


@contextmanager
def namespace_of(state: ContainerState) -> Iterator[int]:
    """A file descriptor of the network namespace of a running container; it is closed at the end.

    Raises FaultError if the container does not run, or shares the host's network; GoneError if its process was
    replaced.
    """
    namespace = _opened(state)
    try:
        yield namespace
    finally:
        os.close(namespace)


def _opened(state: ContainerState) -> int:
    began = started_ticks(state.pid) if state.running and state.pid > 0 else None
    if began is None:
        raise FaultError(
            f"{state.service} does not run", where=state.name, try_="`lab status`, then `lab up`"
        )
    try:
        namespace = os.open(f"/proc/{state.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise FaultError(
            f"the network of {state.service} cannot be entered",
            where=state.name,
            last_state=str(error),
            try_="as root",
        ) from error
    # This comes after the opening, so it proves that the namespace belongs to that process.
    if started_ticks(state.pid) != began or not belongs(state.pid, state.id):
        os.close(namespace)
        raise GoneError(f"{state.service} ended while it was measured", where=state.name)
    if os.fstat(namespace).st_ino in host_namespaces():
        os.close(namespace)
        raise FaultError(
            f"{state.service} is in the host's own network namespace",
            where=state.name,
            try_="nothing: the host's network is left alone",
        )
    return namespace


def enter(namespace: int) -> None:
    """Move the calling thread into a network namespace. It stays there, so call this only in a thread made for it."""
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        raise FaultError(
            "the network namespace cannot be entered",
            where=f"file descriptor {namespace}",
            last_state=os.strerror(ctypes.get_errno()),
            try_="run as root",
        )


def inside(namespace: int, work: Callable[[], T]) -> T:
    """The result of `work` in a new thread inside the namespace; sockets that it makes belong to the namespace."""

    def entered() -> T:
        enter(namespace)
        return work()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(entered).result()


def sockets(namespace: int, count: int, kind: socket.SocketKind, protocol: int = 0) -> list[socket.socket]:
    """`count` new sockets inside a namespace; if one cannot be made, it closes all and raises FaultError."""
    made: list[socket.socket] = []

    def make() -> None:
        made.extend(socket.socket(socket.AF_INET, kind, protocol) for _ in range(count))

    try:
        with as_fault_error(
            f"no {kind.name} socket could be made inside a network namespace",
            where=f"namespace {os.fstat(namespace).st_ino}, socket {len(made) + 1} of {count}",
            try_="run as root; see `ulimit -n`",
        ):
            inside(namespace, make)
    except FaultError:
        for each in made:
            each.close()
        raise
    return made
