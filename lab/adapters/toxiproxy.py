"""Toxiproxy's HTTP API, every call time-boxed: its control port may hang when a toxic is removed under load."""

import time
from typing import Any

import httpx

from lab.errors import FaultError

TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 10.0


class Toxiproxy:
    """Implements `lab.ports.Proxies`; `links` maps a proxy to the address behind which it answers on this host."""

    def __init__(self, api: str, links: dict[str, str]) -> None:
        self._api = api.rstrip("/")
        self._links = links
        # A new connection for each request: a kept one may be what hangs, and toxics act on links one by one.
        alone = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(timeout=TIMEOUT_S, trust_env=False, limits=alone)

    def require_enabled(self, proxy: str) -> None:
        """Raises FaultError where the proxy is missing or disabled: a toxic there would change nothing."""
        if not self._proxy(proxy)["enabled"]:
            raise FaultError(
                f"the proxy {proxy!r} is disabled, so a toxic on it would change nothing",
                where=self._api,
                try_="`lab down && lab up` sets the proxies up anew",
            )

    def toxics(self, proxy: str) -> list[str]:
        """The names of the toxics on a proxy."""
        return sorted(str(toxic["name"]) for toxic in self._proxy(proxy)["toxics"])

    def add_toxic(self, proxy: str, *, name: str, kind: str, stream: str, attributes: dict[str, Any]) -> None:
        """Add a toxic to all connections, open and new."""
        body = {"name": name, "type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes}
        self._ask("POST", f"/proxies/{proxy}/toxics", json=body)

    def remove_toxic(self, proxy: str, *, name: str) -> None:
        """Remove a toxic; one that is gone already is fine."""
        self._ask("DELETE", f"/proxies/{proxy}/toxics/{name}", gone_is_fine=True)

    def round_trips_ms(self, proxy: str, tries: int) -> list[float]:
        """Times of `tries` small requests through the proxy on one new connection each; unanswered ones left out."""
        return [trip for _ in range(tries) if (trip := self._round_trip_ms(self._links[proxy])) is not None]

    def _round_trip_ms(self, url: str) -> float | None:
        began = time.perf_counter()
        try:
            # Any HTTP answer will do: what is measured is the way there and back.
            self._http.get(url, timeout=PROBE_TIMEOUT_S)
        except httpx.HTTPError:
            return None
        return (time.perf_counter() - began) * 1000

    def _proxy(self, proxy: str) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("GET", f"/proxies/{proxy}").json()
        return found

    def _ask(self, method: str, path: str, *, json: Any = None, gone_is_fine: bool = False) -> httpx.Response:
        url = f"{self._api}{path}"
        try:
            answer = self._http.request(method, url, json=json)
        except httpx.HTTPError as error:
            raise FaultError(
                "Toxiproxy's control port does not answer",
                where=f"{method} {url}",
                last_state=f"{type(error).__name__}: {error}",
                try_="`lab status`; restarting the toxiproxy container clears all toxics",
            ) from error
        if answer.is_success or (gone_is_fine and answer.status_code == httpx.codes.NOT_FOUND):
            return answer
        raise FaultError(
            "Toxiproxy refused",
            where=f"{method} {url}",
            last_state=f"HTTP {answer.status_code} {answer.text[:200]}",
        )
