"""Toxiproxy's HTTP API. Each call has a timeout: the control port may hang when a toxic is removed under load."""

import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from lab.errors import FaultError, GoneError
from lab.host.audit import Audit, unaudited
from lab.host.links.link_clients import LinkClients
from lab.host.system_errors import as_fault_error
from lab.ports import Containers
from lab.ports.proxies import Comparison, ConnectionEnd, Exchange, ExchangeResult

# A healthy control port answers within a millisecond; one that needs this long hangs.
TIMEOUT_S = 2.0
RESTARTED_WITHIN_S = 15.0
SERVICE = "toxiproxy"
NOT_FOUND = 404


class HungError(FaultError):
    """The control port did not answer in time, or did not accept the connection."""


class MissingError(FaultError):
    """Toxiproxy has no proxy, or no toxic, of that name."""


class Toxiproxy:
    """Implements `lab.ports.Proxies`; `links` maps a proxy to its address on this host.

    `direct` maps it to the address of the service behind it, with which the link is compared. With `containers`, a
    control port that hangs or a proxy that is missing is healed: the proxy is recreated, and if that fails the
    container is restarted. Links are then measured from inside the container's network namespace, if that is allowed.
    """

    def __init__(
        self,
        api: str,
        links: dict[str, str],
        *,
        direct: Mapping[str, str] | None = None,
        audit: Audit = unaudited,
        containers: Containers | None = None,
        timeout_s: float = TIMEOUT_S,
        service: str = SERVICE,
    ) -> None:
        self._service = service
        self._api = api.rstrip("/")
        self._where = urlsplit(self._api)
        self._audit = audit
        self._containers = containers
        self._timeout_s = timeout_s
        self._clients = LinkClients(links, direct or {}, containers, service)
        self._known: dict[str, dict[str, Any]] = {}

    def require_enabled(self, proxy: str) -> None:
        """Raise FaultError if the proxy is missing or disabled, because a toxic on it would change nothing.

        It also raises FaultError if no Toxiproxy with the lab's labels runs: another server may answer at its address.
        """
        if self._containers is not None and not (state := self._containers.state(self._service)).running:
            raise FaultError(
                "Toxiproxy does not run, so no fault can act on a link", where=state.name, try_="`lab up`"
            )
        if not self.is_enabled(proxy):
            raise FaultError(
                f"the proxy {proxy!r} is disabled, so a toxic on it would change nothing",
                where=self._api,
                try_="`lab down && lab up` sets the proxies up anew",
            )

    def is_enabled(self, proxy: str) -> bool:
        """True if Toxiproxy reports the proxy as enabled; only a measurement proves it."""
        return bool(self._proxy(proxy)["enabled"])

    def disable(self, proxy: str) -> None:
        """Let the proxy stop listening, and close all its connections."""
        self._audit("disabled", f"proxy {proxy}", "")
        self._ask("POST", f"/proxies/{proxy}", {"enabled": False})

    def enable(self, proxy: str) -> None:
        """Let the proxy listen again; it may do so already. Raises GoneError if it cannot be recreated."""
        self._audit("enabled", f"proxy {proxy}", "")
        self._or_recreate(proxy, lambda: self._ask("POST", f"/proxies/{proxy}", {"enabled": True}))

    def toxics(self, proxy: str) -> list[str]:
        """The names of the toxics on a proxy."""
        return sorted(str(toxic["name"]) for toxic in self._proxy(proxy)["toxics"])

    def add_toxic(
        self,
        proxy: str,
        *,
        name: str,
        kind: str,
        stream: str,
        attributes: dict[str, Any],
        toxicity: float = 1.0,
    ) -> None:
        """Add a toxic to open and new connections; `toxicity` is the probability that a connection is affected."""
        body = {"name": name, "type": kind, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        self._audit("added toxic", f"proxy {proxy}", json.dumps(body, sort_keys=True))
        self._ask("POST", f"/proxies/{proxy}/toxics", body)

    def remove_toxic(self, proxy: str, *, name: str) -> None:
        """Remove a toxic; none is fine. If its proxy is missing, the proxy is recreated.

        Raises GoneError if that is not possible: the toxic ended with its proxy, but the link is broken.
        """
        self._audit("removed toxic", f"proxy {proxy}", name)
        self._or_recreate(proxy, lambda: self._ask("DELETE", f"/proxies/{proxy}/toxics/{name}"))

    def exchange(self, proxy: str, what: Exchange, tries: int) -> Sequence[ExchangeResult]:
        """Make `tries` exchanges through the proxy, each on a new connection, several at a time."""
        return self._clients.exchange(proxy, self._port(proxy), what, tries)

    def compare(self, proxy: str, what: Exchange, tries: int) -> Comparison:
        """Make `tries` exchanges through the proxy, and a direct one between each two of them."""
        return self._clients.compare(proxy, self._port(proxy), what, tries)

    def open_held_connection(self, proxy: str) -> None:
        """Open a connection, get one answer on it, and keep it open in order to learn how it ends."""
        self._clients.open_held_connection(proxy, self._port(proxy))

    def held_connection_end(self, proxy: str) -> ConnectionEnd | None:
        """How the held connection ended; None while it is open, or if there is none."""
        return self._clients.held_connection_end(proxy)

    def reset_connections(self, proxy: str) -> int:
        """Reset all open connections from the proxy's side; returns how many there were."""
        self._audit("reset open connections", f"proxy {proxy}", "")
        return self._clients.reset_connections(self._port(proxy))

    def _port(self, proxy: str) -> int:
        found = self._known.get(proxy) or self._proxy(proxy)
        return int(str(found["listen"]).rpartition(":")[2])

    def _proxy(self, proxy: str) -> dict[str, Any]:
        found = self._ask("GET", f"/proxies/{proxy}")
        if not _is_proxy(found):
            raise FaultError(
                "what answers at Toxiproxy's address is not Toxiproxy",
                where=f"GET {self._api}/proxies/{proxy}",
                last_state=f"it answered {str(found)[:200]}",
                try_="`lab status`, then `lab up`",
            )
        self._known[proxy] = found
        return dict(found)

    def _or_recreate(self, proxy: str, call: Callable[[], Any]) -> None:
        """Heal with `call`; if the port hangs or the proxy is missing, recreate it, or restart the container."""
        was = self._known.get(proxy)
        try:
            # Read this first: a port that hangs cannot tell any more how the proxy has to be recreated.
            was = was or self._proxy(proxy)
            self._unless_missing(proxy, call)
        except (HungError, MissingError) as broken:
            self._make_anew(proxy, was, broken)
            self._require_clean(proxy)

    def _unless_missing(self, proxy: str, call: Callable[[], Any]) -> None:
        """Ignore a missing toxic on a proxy that exists; raise MissingError if the proxy itself is missing."""
        try:
            call()
        except MissingError:
            self._proxy(proxy)

    def _make_anew(self, proxy: str, was: dict[str, Any] | None, broken: HungError | MissingError) -> None:
        why = "the control port hung" if isinstance(broken, HungError) else f"there was no proxy {proxy}"
        if was is not None:
            with suppress(FaultError):
                self._recreate(proxy, was, why)
                return
        if self._containers is None and isinstance(broken, MissingError):
            raise _lost(proxy, broken) from broken
        self._restart(broken, why)

    def _recreate(self, proxy: str, was: dict[str, Any], why: str) -> None:
        self._audit("recreated", f"proxy {proxy}", f"{why}; all toxics of this proxy go")
        with suppress(MissingError):
            self._ask("DELETE", f"/proxies/{proxy}")
        body = {"name": proxy, "listen": was["listen"], "upstream": was["upstream"], "enabled": True}
        self._ask("POST", "/proxies", body)

    def _restart(self, broken: FaultError, why: str) -> None:
        """Restart the container; its configuration file brings all proxies back, enabled and without toxics."""
        if self._containers is None:
            raise broken
        self._audit("restarting", self._service, f"{why}; all toxics of all proxies go")
        self._containers.restart(self._service, self._containers.state(self._service).id, 1)
        end = time.monotonic() + RESTARTED_WITHIN_S
        while time.monotonic() < end:
            try:
                self._ask("GET", "/proxies")
                return
            except HungError:
                time.sleep(0.1)
        raise FaultError(
            f"{why}, and Toxiproxy did not answer within {RESTARTED_WITHIN_S:g} s of a restart",
            where=self._api,
            last_state=broken.last_state,
            try_="`lab down && lab up`",
        ) from broken

    def _require_clean(self, proxy: str) -> None:
        try:
            found = self._proxy(proxy)
        except MissingError as missing:
            raise _lost(proxy, missing) from missing
        left = [toxic["name"] for toxic in found["toxics"] if str(toxic["name"]).startswith("lab-")]
        if left or not found["enabled"]:
            raise FaultError(
                f"the proxy {proxy!r} was recreated and is still not as it should be",
                where=self._api,
                last_state=f"enabled {found['enabled']}, toxics {left}",
                try_="`lab down && lab up`",
            )

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer. Raises HungError if none arrives before the timeout, which covers the whole call.

        Raises MissingError for HTTP 404.
        """
        where = f"{method} {self._api}{path}"
        try:
            status, text = self._call(method, path, b"" if body is None else json.dumps(body).encode())
        except OSError as error:
            raise HungError(
                "Toxiproxy's control port does not answer",
                where=where,
                last_state=f"{type(error).__name__}: {error}",
                try_="`lab status`; restarting the toxiproxy container clears all toxics",
            ) from error
        if 200 <= status < 300:
            with as_fault_error("Toxiproxy's answer is not JSON", where=where, try_="`lab status`"):
                return json.loads(text) if text else None
        last_state = f"HTTP {status} {text[:200].decode('utf-8', 'replace')}"
        refused = MissingError if status == NOT_FOUND else FaultError
        raise refused("Toxiproxy refused", where=where, last_state=last_state, try_="`lab status`")

    def _call(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        # Written by hand, because the timeout of a library starts anew with each byte, and its setup costs more than
        # the call. With HTTP/1.0 a connection serves one call, and its end is the end of the answer.
        end = time.monotonic() + self._timeout_s
        host, port = self._where.hostname or "127.0.0.1", self._where.port or 80
        head = f"{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((host, port), self._timeout_s) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = bytearray()
            while True:
                sock.settimeout(max(1e-3, end - time.monotonic()))
                if not (data := sock.recv(65536)):
                    break
                answer += data
        top, separator, text = bytes(answer).partition(b"\r\n\r\n")
        words = top.split(None, 2)
        if not separator or len(words) < 2 or not words[1].isdigit():
            raise ConnectionError(f"closed after {len(answer)} bytes")
        return int(words[1]), text


def _is_proxy(found: Any) -> bool:
    """True if an answer has the form of Toxiproxy's description of one proxy."""
    if not isinstance(found, dict) or not isinstance(found.get("toxics"), list):
        return False
    port = str(found.get("listen")).rpartition(":")[2]
    named = all(isinstance(toxic, dict) and "name" in toxic for toxic in found["toxics"])
    return named and port.isdigit() and isinstance(found.get("enabled"), bool) and "upstream" in found


def _lost(proxy: str, missing: MissingError) -> GoneError:
    return GoneError(
        f"Toxiproxy has no proxy {proxy!r}, so its toxics are gone too; the link is broken until "
        "`lab down && lab up`",
        where=missing.where,
        last_state=missing.last_state,
        try_="`lab down && lab up` sets the proxies up anew",
    )
