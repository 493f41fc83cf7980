"""The stack's ports on 127.0.0.1: fixed defaults for `lab up`, free ports for further stacks."""

import os
import secrets
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from lab.errors import WorldError
from lab.read.compose_file import LOOPBACK, default_ports

FREE_FROM = 20_000
EPHEMERAL_FROM = 32_768
PORT_MAX = 65_535
TRIES_MAX = 2_000
UNSEEN = "a process that this user cannot see"


def variable(name: str) -> str:
    """The name of the environment variable that sets a port."""
    return f"LAB_PORT_{name.upper()}"


def chosen_ports(
    environment: Mapping[str, str] | None = None, *, defaults: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The compose file's default ports, or the values of the LAB_PORT_ variables that are set.

    Raises WorldError for a value that is no port, or for a port that two services would share.
    """
    given = os.environ if environment is None else environment
    known = {**default_ports(), **(defaults or {})}
    ports = {name: _number(name, given.get(variable(name)), port) for name, port in known.items()}
    twice = sorted(name for name, port in ports.items() if list(ports.values()).count(port) > 1)
    if twice:
        raise WorldError(
            f"two services would share port {ports[twice[0]]}",
            where=", ".join(variable(name) for name in twice),
            try_="give each service a port of its own",
        )
    return ports


def _number(name: str, text: str | None, default: int) -> int:
    if text is None or text == "":
        return default
    if text.isdecimal() and 0 < int(text) <= PORT_MAX:
        return int(text)
    raise WorldError(
        f"{variable(name)} is not a port", last_state=repr(text), try_=f"a number up to {PORT_MAX}"
    )


def free_ports(names: Collection[str], taken: Collection[int] = ()) -> dict[str, int]:
    """A free port for each name, not in `taken`.

    The ports are below the range that the kernel uses for outgoing connections. So they are still free when a container
    that was killed starts again.
    """
    with ExitStack() as sockets:
        numbers = _bindable(sockets, set(taken))
        return {name: next(numbers) for name in names}


def _bindable(sockets: ExitStack, tried: set[int]) -> Iterator[int]:
    upper = ephemeral_from()
    for _ in range(TRIES_MAX):
        port = FREE_FROM + secrets.randbelow(upper - FREE_FROM)
        if port in tried:
            continue
        tried.add(port)
        probe = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            continue
        yield port
    raise WorldError(
        "no free ports were found",
        where=f"{LOOPBACK}:{FREE_FROM}-{upper}",
        last_state=f"{TRIES_MAX} tried",
        try_="stop other stacks (`lab down --all`)",
    )


def ephemeral_from(path: Path = Path("/proc/sys/net/ipv4/ip_local_port_range")) -> int:
    """The first port that the kernel uses for outgoing connections, or Linux's default."""
    try:
        first = int(path.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return EPHEMERAL_FROM
    return first if first > FREE_FROM + 1_000 else EPHEMERAL_FROM


def is_free(port: int) -> bool:
    """True if a server could listen on this port now; a closed connection in TIME_WAIT does not matter."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def require_free(ports: Mapping[str, int]) -> None:
    """Raise WorldError for the first port that is in use, with the name of its program if it is visible."""
    for name, port in ports.items():
        if not is_free(port):
            raise WorldError(
                f"port {port} is taken; the stack needs it for {name}",
                where=f"{LOOPBACK}:{port}",
                last_state=f"held by {holder(port)}",
                try_=f"stop that program, or set {variable(name)} to a free port",
            )


def holder(port: int) -> str:
    """The program that listens on a port, if this user may see it."""
    try:
        pids = [
            c.pid
            for c in psutil.net_connections("tcp")
            if c.pid and c.status == psutil.CONN_LISTEN and _at(c, port)
        ]
        return f"{psutil.Process(pids[0]).name()} (process {pids[0]})" if pids else UNSEEN
    except psutil.Error:
        return UNSEEN


def _at(connection: Any, port: int) -> bool:
    """True if the local port is `port`; an unbound socket has no local address."""
    return bool(connection.laddr) and connection.laddr.port == port
