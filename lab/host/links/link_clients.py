"""Clients of the proxies: exchanges from inside Toxiproxy's namespace where that is allowed, else from the host."""

import os
import socket
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from lab.errors import FaultError
from lab.host.links import link_sockets
from lab.host.links.link_probe import complete, converse, payload
from lab.host.network.namespaces import enter
from lab.ports import Containers
from lab.ports.proxies import (
    AT_ONCE_MAX,
    CONNECT_TIMEOUT_S,
    START_PAUSE_S,
    Comparison,
    ConnectionEnd,
    Exchange,
    ExchangeResult,
)


class LinkClients:
    """`links` maps a proxy to the address behind which it answers on this host; its path is asked for.

    `past` maps it to the address of the service behind it; `service` is the one whose container runs the proxies.
    """

    def __init__(
        self, links: Mapping[str, str], past: Mapping[str, str], containers: Containers | None, service: str
    ) -> None:
        self._service = service
        self._links, self._past = links, past
        self._containers = containers if os.geteuid() == 0 else None
        self._process: link_sockets.Proxying | None = None
        self._kept: dict[str, tuple[socket.socket, ConnectionEnd | None]] = {}
        weakref.finalize(self, _close_all, self._kept)

    def exchange(self, proxy: str, port: int, what: Exchange, tries: int) -> Sequence[ExchangeResult]:
        """So many exchanges on new connections; `port` is where the proxy listens inside its container."""
        with self._asking(proxy, port, what, tries) as through:
            talks = [through() for _ in range(tries)]
        return [talk.result() for talk in talks]

    def compare(self, proxy: str, port: int, what: Exchange, tries: int) -> Comparison:
        """So many exchanges through the proxy, and between any two of them one past it.

        They begin one after the other. So a service, or a machine, that stands still for long enough to delay one
        through the proxy and the next delays the one between them as well.
        """
        talks: list[Future[ExchangeResult]] = []
        with (
            self._asking(proxy, port, what, tries) as through,
            ThreadPoolExecutor(max_workers=1 if what.alone else min(tries, AT_ONCE_MAX)) as pool,
        ):
            address, path = _host(self._past[proxy]), self._path(proxy)
            for number in range(2 * tries - 1):
                past = number % 2 == 1
                talks.append(pool.submit(converse, _socket(None), address, path, what) if past else through())
                if what.alone:
                    wait(talks)
                else:
                    time.sleep(START_PAUSE_S)
        return Comparison([talk.result() for talk in talks[::2]], [talk.result() for talk in talks[1::2]])

    @contextmanager
    def _asking(
        self, proxy: str, port: int, what: Exchange, tries: int
    ) -> Iterator[Callable[[], Future[ExchangeResult]]]:
        """A way to begin exchanges through the proxy; all of them have ended when it is left."""
        address, path, namespace = self._address(proxy, port), self._path(proxy), self._namespace()
        try:
            # Threads of this pool alone, for one that has entered a namespace stays there.
            with ThreadPoolExecutor(max_workers=1 if what.alone else min(tries, AT_ONCE_MAX)) as pool:
                yield lambda: pool.submit(lambda: converse(_socket(namespace), address, path, what))
        finally:
            if namespace is not None:
                os.close(namespace)

    def _path(self, proxy: str) -> str:
        return urlsplit(self._links[proxy]).path or "/"

    def open_held_connection(self, proxy: str, port: int) -> None:
        """Open the witness anew; raises FaultError where it is not answered."""
        if proxy in self._kept:
            self._kept.pop(proxy)[0].close()
        address, path, namespace = self._address(proxy, port), self._path(proxy), self._namespace()
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

    def held_connection_end(self, proxy: str) -> ConnectionEnd | None:
        """How the witness ended, remembered once it has; None while it is open, or where there is none."""
        if proxy not in self._kept:
            return None
        kept, end = self._kept[proxy]
        if end is None:
            end = _end_of(kept)
            self._kept[proxy] = (kept, end)
            if end is not None:
                kept.close()
        return end

    def reset_connections(self, port: int) -> int:
        """Reset every connection that is open on the proxy's port; raises FaultError where that cannot be done."""
        if self._containers is None:
            raise FaultError(
                "only root can reset connections that are open in Toxiproxy",
                try_="as root; or link_down, which closes them",
            )
        self._process = link_sockets.proxying(self._containers, self._service, self._process)
        return link_sockets.reset_accepted(self._process, port)

    def _namespace(self) -> int | None:
        if self._containers is None:
            return None
        self._process = link_sockets.proxying(self._containers, self._service, self._process)
        return link_sockets.namespace_of(self._process)

    def _address(self, proxy: str, port: int) -> tuple[str, int]:
        if self._containers is not None:
            return "127.0.0.1", port
        return _host(self._links[proxy])


def _host(address: str) -> tuple[str, int]:
    where = urlsplit(address)
    return where.hostname or "127.0.0.1", where.port or 80


def _close_all(kept: dict[str, tuple[socket.socket, ConnectionEnd | None]]) -> None:
    for one, _ in kept.values():
        one.close()


def _socket(namespace: int | None) -> socket.socket:
    if namespace is not None:
        enter(namespace)
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


def _end_of(kept: socket.socket) -> ConnectionEnd | None:
    """Nothing was asked, so nothing is to be read but the end; what else comes is read and left."""
    kept.setblocking(False)
    with suppress(BlockingIOError):
        try:
            while kept.recv(65536):
                pass
        except BlockingIOError:
            raise
        except ConnectionResetError:
            return "reset"
        except OSError:  # the kernel gave up on the connection (ETIMEDOUT, no route)
            return "silent"
        return "closed"
    return None
