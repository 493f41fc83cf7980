"""Clients of the proxies: they run inside Toxiproxy's network namespace if that is allowed, else on the host."""

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
    """Makes exchanges through the proxies of one stack, and directly with the services behind them.

    `links` maps a proxy to its address on this host, whose path is requested; `direct` maps it to the address of the
    service behind it. `service` is the one whose container runs the proxies.
    """

    def __init__(
        self, links: Mapping[str, str], direct: Mapping[str, str], containers: Containers | None, service: str
    ) -> None:
        self._service = service
        self._links, self._direct = links, direct
        self._containers = containers if os.geteuid() == 0 else None
        self._process: link_sockets.ProxyProcess | None = None
        self._kept: dict[str, tuple[socket.socket, ConnectionEnd | None]] = {}
        weakref.finalize(self, _close_all, self._kept)

    def exchange(self, proxy: str, port: int, what: Exchange, tries: int) -> Sequence[ExchangeResult]:
        """Make `tries` exchanges, each on a new connection; `port` is where the proxy listens in its container."""
        with self._through_proxy(proxy, port, what, tries) as through:
            started = [through() for _ in range(tries)]
        return [exchange.result() for exchange in started]

    def compare(self, proxy: str, port: int, what: Exchange, tries: int) -> Comparison:
        """Make `tries` exchanges through the proxy, and a direct one between each two of them.

        They start one after the other. So if the service or the machine stands still and delays two exchanges through
        the proxy, it also delays the direct one between them.
        """
        started: list[Future[ExchangeResult]] = []
        with (
            self._through_proxy(proxy, port, what, tries) as through,
            ThreadPoolExecutor(max_workers=1 if what.alone else min(tries, AT_ONCE_MAX)) as pool,
        ):
            address, path = _host(self._direct[proxy]), self._path(proxy)
            for number in range(2 * tries - 1):
                if number % 2 == 1:
                    started.append(pool.submit(converse, _socket(None), address, path, what))
                else:
                    started.append(through())
                if what.alone:
                    wait(started)
                else:
                    time.sleep(START_PAUSE_S)
        results = [exchange.result() for exchange in started]
        return Comparison(results[::2], results[1::2])

    @contextmanager
    def _through_proxy(
        self, proxy: str, port: int, what: Exchange, tries: int
    ) -> Iterator[Callable[[], Future[ExchangeResult]]]:
        """A function that starts an exchange through the proxy; all exchanges have ended when the context is left."""
        address, path, namespace = self._address(proxy, port), self._path(proxy), self._namespace()
        try:
            # A pool of its own, because a thread that has entered a namespace stays there.
            with ThreadPoolExecutor(max_workers=1 if what.alone else min(tries, AT_ONCE_MAX)) as pool:
                yield lambda: pool.submit(lambda: converse(_socket(namespace), address, path, what))
        finally:
            if namespace is not None:
                os.close(namespace)

    def _path(self, proxy: str) -> str:
        return urlsplit(self._links[proxy]).path or "/"

    def open_held_connection(self, proxy: str, port: int) -> None:
        """Open the held connection anew; raises FaultError if its request is not answered."""
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
        """How the held connection ended; None while it is open, or if there is none."""
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
        """Reset all connections that are open on the proxy's port; raises FaultError if that is not possible."""
        if self._containers is None:
            raise FaultError(
                "only root can reset connections that are open in Toxiproxy",
                where=self._service,
                last_state=f"user id {os.geteuid()}",
                try_="run as root; or take link_down, which closes them",
            )
        self._process = link_sockets.find_proxy_process(self._containers, self._service, self._process)
        return link_sockets.reset_accepted(self._process, port)

    def _namespace(self) -> int | None:
        if self._containers is None:
            return None
        self._process = link_sockets.find_proxy_process(self._containers, self._service, self._process)
        return link_sockets.namespace_of(self._process)

    def _address(self, proxy: str, port: int) -> tuple[str, int]:
        if self._containers is not None:
            return "127.0.0.1", port
        return _host(self._links[proxy])


def _host(address: str) -> tuple[str, int]:
    where = urlsplit(address)
    return where.hostname or "127.0.0.1", where.port or 80


def _close_all(kept: dict[str, tuple[socket.socket, ConnectionEnd | None]]) -> None:
    for connection, _ in kept.values():
        connection.close()


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
    """How a connection on which no request is pending ended; None while it is open. Bytes that arrive are dropped."""
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
