"""Whether a service answers, asked from the host past all proxies."""

import httpx

from lab.errors import FaultError


class Reach:
    """Implements `lab.ports.Reachability`; `health` maps a service to an address that only a live one answers."""

    def __init__(self, health: dict[str, str]) -> None:
        self._health = health
        # A connection of its own for each question: a kept one may belong to a process that is dead.
        self._http = httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    def answers(self, service: str, *, timeout_s: float) -> bool:
        """True for any HTTP answer below 500: a server that refuses politely is alive."""
        if service not in self._health:
            raise FaultError(
                f"the lab knows no address by which to ask whether {service} is alive",
                last_state=f"known: {', '.join(sorted(self._health))}",
                try_="aim at one of those that are known",
            )
        try:
            answer = self._http.get(self._health[service], timeout=timeout_s)
        except httpx.HTTPError:
            return False
        return answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR
