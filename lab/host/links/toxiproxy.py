"""Toxiproxy's HTTP API, every call time-boxed: its control port may hang when a toxic is removed under load."""

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

# A healthy control port answers within a millisecond; what takes this long hangs.
TIMEOUT_S = 2.0
RESTARTED_WITHIN_S = 15.0
SERVICE = "toxiproxy"
NOT_FOUND = 404


class HungError(FaultError):
    """The control port took the call and did not answer in time, or does not take calls at all."""


class MissingError(FaultError):
    """Toxiproxy knows no proxy, or no toxic, of that name."""


class Toxiproxy:
    """Implements `lab.ports.Proxies`; `links` maps a proxy to the address behind which it answers on this host.

    `past` maps it to the address of the service behind it, with which a link is compared. With `containers` a control
    port that hangs, or a proxy that is not there, is healed by recreating the proxy, then by restarting the container,
    and links are measured from inside the container's namespace where that is allowed.
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
        """Raises FaultError where the proxy is missing or disabled, for a toxic there would change nothing.

        And where the stack has no running Toxiproxy with the lab's labels: whatever answers here is not ours then.
        """
        if self._containers is not None and not (state := self._containers.state(self._service)).running:
            raise FaultError(
                "Toxiproxy does not run, so a link cannot be hurt", where=state.name, try_="`lab up`"
            )
        if not self.is_enabled(proxy):
            raise FaultError(
                f"the proxy {proxy!r} is disabled, so a toxic on it would change nothing",
                where=self._api,
                try_="`lab down && lab up` sets the proxies up anew",
            )

    def is_enabled(self, proxy: str) -> bool:
        """What Toxiproxy says; a measurement says more."""
        return bool(self._proxy(proxy)["enabled"])

    def disable(self, proxy: str) -> None:
        """Stop listening, and close all connections."""
        self._audit("disabled", f"proxy {proxy}", "")
        self._ask("POST", f"/proxies/{proxy}", {"enabled": False})

    def enable(self, proxy: str) -> None:
        """Listen again; one that listens is fine. Raises GoneError where the proxy is gone and cannot be made anew."""
        self._audit("enabled", f"proxy {proxy}", "")
        self._or_anew(proxy, lambda: self._ask("POST", f"/proxies/{proxy}", {"enabled": True}))

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
        """Add a toxic to all connections, open and new; for each, `toxicity` is how probably it is hit."""
        body = {"name": name, "type": kind, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        self._audit("added toxic", f"proxy {proxy}", json.dumps(body, sort_keys=True))
        self._ask("POST", f"/proxies/{proxy}/toxics", body)

    def remove_toxic(self, proxy: str, *, name: str) -> None:
        """Remove a toxic; one that is gone already is fine, and its proxy is made anew where that is gone.

        Raises GoneError where that cannot be: the toxic ended with its proxy, but the link is broken.
        """
        self._audit("removed toxic", f"proxy {proxy}", name)
        self._or_anew(proxy, lambda: self._ask("DELETE", f"/proxies/{proxy}/toxics/{name}"))

    def exchange(self, proxy: str, what: Exchange, tries: int) -> Sequence[ExchangeResult]:
        """So many exchanges through the proxy, each on a new connection, several at a time."""
        return self._clients.exchange(proxy, self._port(proxy), what, tries)

    def compare(self, proxy: str, what: Exchange, tries: int) -> Comparison:
        """So many exchanges through the proxy, and between any two of them one past it."""
        return self._clients.compare(proxy, self._port(proxy), what, tries)

    def open_held_connection(self, proxy: str) -> None:
        """Open one connection on which a request has been answered, and keep it as a witness."""
        self._clients.open_held_connection(proxy, self._port(proxy))

    def held_connection_end(self, proxy: str) -> ConnectionEnd | None:
        """How the witness ended; None while it is open, or where there is none."""
        return self._clients.held_connection_end(proxy)

    def reset_connections(self, proxy: str) -> int:
        """Reset every connection that is open now, from the proxy's side; returns how many there were."""
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

    def _or_anew(self, proxy: str, call: Callable[[], Any]) -> None:
        """What heals: where the control port hangs, or the proxy is gone, that is made anew, then its container."""
        was = self._known.get(proxy)
        try:
            # First, for a port that hangs does not say any more how the proxy is to be made anew.
            was = was or self._proxy(proxy)
            self._where_there(proxy, call)
        except (HungError, MissingError) as broken:
            self._anew(proxy, was, broken)
            self._see_clean(proxy)

    def _where_there(self, proxy: str, call: Callable[[], Any]) -> None:
        """What is not there on a proxy that is there is fine; raises MissingError where the proxy is not."""
        try:
            call()
        except MissingError:
            self._proxy(proxy)

    def _anew(self, proxy: str, was: dict[str, Any] | None, broken: HungError | MissingError) -> None:
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
        """Restart the container, whose config file brings the proxies back, enabled and without toxics."""
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
            f"{why}, and Toxiproxy did not come back within {RESTARTED_WITHIN_S:g} s of a restart",
            where=self._api,
            last_state=broken.last_state,
            try_="`lab down && lab up`",
        ) from broken

    def _see_clean(self, proxy: str) -> None:
        try:
            found = self._proxy(proxy)
        except MissingError as missing:
            raise _lost(proxy, missing) from missing
        left = [toxic["name"] for toxic in found["toxics"] if str(toxic["name"]).startswith("lab-")]
        if left or not found["enabled"]:
            raise FaultError(
                f"the proxy {proxy!r} was made anew and is still not as it should be",
                where=self._api,
                last_state=f"enabled {found['enabled']}, toxics {left}",
                try_="`lab down && lab up`",
            )

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer; HungError where none comes within the time-box, which holds for the whole call.

        MissingError for an HTTP 404.
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
        raise refused("Toxiproxy refused", where=where, last_state=last_state)

    def _call(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        # By hand, because a library's time-out starts anew with each byte and its set-up costs more than the call.
        # HTTP/1.0: one connection for one call, whose end is the answer's end, in one piece.
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
        f"Toxiproxy has no proxy {proxy!r}, so its toxics are gone too; the link stays broken until "
        "`lab down && lab up`",
        where=missing.where,
        last_state=missing.last_state,
        try_="`lab down && lab up` sets the proxies up anew",
    )
