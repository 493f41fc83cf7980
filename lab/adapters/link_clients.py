"""Clients of the proxies: exchanges from inside Toxiproxy's namespace where that is allowed, else from the host."""

import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

from lab.adapters import link_sockets
from lab.adapters.link_probe import CONNECT_TIMEOUT_S, complete, converse, payload
from lab.errors import FaultError
from lab.ports import Containers
from lab.ports.proxies import End, Exchange, Seen

AT_ONCE_MAX = 8


class LinkClients:
    """`links` maps a proxy to the address behind which it answers on this host; its path is asked for."""

    def __init__(self, links: dict[str, str], containers: Containers | None) -> None:
        self._links = links
        self._containers = containers if os.geteuid() == 0 else None
        self._process: link_sockets.Proxying | None = None
        self._kept: dict[str, tuple[socket.socket, End | None]] = {}

    def exchange(self, proxy: str, port: int, what: Exchange, tries: int) -> Sequence[Seen]:
        """So many exchanges on new connections; `port` is where the proxy listens inside its container."""
        address, path = self._address(proxy, port), urlsplit(self._links[proxy]).path or "/"
        namespace = self._namespace()
        try:
            # Threads of this pool alone, for one that has entered a namespace stays there.
            with ThreadPoolExecutor(max_workers=1 if what.alone else min(tries, AT_ONCE_MAX)) as pool:
                talks = [
                    pool.submit(lambda: converse(_socket(namespace), address, path, what))
                    for _ in range(tries)
                ]
                return [talk.result() for talk in talks]
        finally:
            if namespace is not None:
                os.close(namespace)

    def keep_open(self, proxy: str, port: int) -> None:
        """Open the witness anew; raises FaultError where it is not answered."""
        if proxy in self._kept:
            self._kept.pop(proxy)[0].close()
        address, path = self._address(proxy, port), urlsplit(self._links[proxy]).path or "/"
        namespace = self._namespace()
        try:
            with ThreadPoolExecutor(max_workers=1) as pool:
                kept = pool.submit(_socket, namespace).result()
        finally:
            if namespace is not None:
                os.close(namespace)
        try:
            _open(kept, address, path)
        except OSError as error:
            kept.close()
            raise FaultError(
                f"no connection through the proxy {proxy!r} could be opened and used",
                where=f"{address[0]}:{address[1]}",
                last_state=str(error),
                try_="`lab status`",
            ) from error
        self._kept[proxy] = (kept, None)

    def kept_end(self, proxy: str) -> End | None:
        """How the witness ended, remembered once it has; None while it is open, or where there is none."""
        if proxy not in self._kept:
            return None
        kept, end = self._kept[proxy]
        if end is None:
            end = _end_of(kept)
            self._kept[proxy] = (kept, end)
        return end

    def reset_open(self, port: int) -> int:
        """Reset every connection that is open on the proxy's port; raises FaultError where that cannot be done."""
        if self._containers is None:
            raise FaultError(
                "only root can reset connections that are open in Toxiproxy",
                try_="as root; or link_down, which closes them",
            )
        self._process = link_sockets.proxying(self._containers, self._process)
        return link_sockets.reset_accepted(self._process, port)

    def _namespace(self) -> int | None:
        if self._containers is None:
            return None
        self._process = link_sockets.proxying(self._containers, self._process)
        return link_sockets.namespace_of(self._process)

    def _address(self, proxy: str, port: int) -> tuple[str, int]:
        if self._containers is not None:
            return "127.0.0.1", port
        where = urlsplit(self._links[proxy])
        return where.hostname or "127.0.0.1", where.port or 80


def _socket(namespace: int | None) -> socket.socket:
    if namespace is not None:
        link_sockets.enter(namespace)
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def _open(kept: socket.socket, address: tuple[str, int], path: str) -> None:
    kept.settimeout(CONNECT_TIMEOUT_S)
    kept.connect(address)
    kept.sendall(payload(Exchange(half_close=True), path)[0])
    answer = b""
    while not complete(answer, 1):
        if not (data := kept.recv(65536)):
            raise ConnectionError("closed before it was answered")
        answer += data


def _end_of(kept: socket.socket) -> End | None:
    """Nothing was asked, so nothing is to be read but the end; what else comes is read and left."""
    kept.setblocking(False)
    with suppress(BlockingIOError):
        try:
            while kept.recv(65536):
                pass
        except ConnectionResetError:
            return "reset"
        return "closed"
    return None
