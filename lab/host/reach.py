"""Asks services whether they are alive, from the host and without any proxy between."""

import httpx

from lab.errors import FaultError


class Reach:
    """Implements `lab.ports.Reachability`; `health` maps a service to an address that answers only if it is alive."""

    def __init__(self, health: dict[str, str]) -> None:
        self._health = health
        # Each request has a connection of its own, because a kept one may belong to a dead process.
        self._http = httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    def answers(self, service: str, *, timeout_s: float) -> bool:
        """True for any HTTP status below 500: a server that answers with an error of the client is alive."""
        if service not in self._health:
            raise FaultError(
                f"the lab knows no health address of {service}",
                last_state=f"known: {', '.join(sorted(self._health))}",
                try_="aim the fault at one of the known services",
            )
        try:
            answer = self._http.get(self._health[service], timeout=timeout_s)
        except httpx.HTTPError:
            return False
        return answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR
