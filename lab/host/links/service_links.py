"""The proxies of each service taken together: a fault of a link acts on every protocol that the service speaks.

A store has a proxy for HTTP and one for gRPC. A fault names the service; it acts on all of its proxies, and is measured
through the first, which speaks HTTP. That the second is hit too shows on the target's own connections.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lab.errors import FaultError
from lab.ports.proxies import Comparison, ConnectionEnd, Exchange, ExchangeResult, Proxies


class ServiceLinks:
    """Implements `lab.ports.Proxies` on that of single proxies; `beside` maps a proxy to the others of its service."""

    def __init__(self, single: Proxies, beside: Mapping[str, Sequence[str]]) -> None:
        self._single, self._beside = single, beside

    def require_enabled(self, proxy: str) -> None:
        """Raise FaultError if one of them is missing or disabled."""
        for each in self._all(proxy):
            self._single.require_enabled(each)

    def is_enabled(self, proxy: str) -> bool:
        """True if all of them are enabled."""
        return all(map(self._single.is_enabled, self._all(proxy)))

    def disable(self, proxy: str) -> None:
        """Disable all of them."""
        for each in self._all(proxy):
            self._single.disable(each)

    def enable(self, proxy: str) -> None:
        """Enable all of them."""
        self._heal(proxy, self._single.enable)

    def toxics(self, proxy: str) -> list[str]:
        """The names of the toxics on any of them."""
        return sorted({name for each in self._all(proxy) for name in self._single.toxics(each)})

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
        """Add the toxic to all of them, under one name."""
        for each in self._all(proxy):
            self._single.add_toxic(
                each, name=name, kind=kind, stream=stream, attributes=attributes, toxicity=toxicity
            )

    def remove_toxic(self, proxy: str, *, name: str) -> None:
        """Remove the toxic from all of them; none is fine."""
        self._heal(proxy, lambda each: self._single.remove_toxic(each, name=name))

    def exchange(self, proxy: str, what: Exchange, tries: int) -> Sequence[ExchangeResult]:
        """Make `tries` exchanges through the first."""
        return self._single.exchange(proxy, what, tries)

    def compare(self, proxy: str, what: Exchange, tries: int) -> Comparison:
        """Make `tries` exchanges through the first, and a direct one between each two of them."""
        return self._single.compare(proxy, what, tries)

    def open_held_connection(self, proxy: str) -> None:
        """Open a connection through the first, and keep it."""
        self._single.open_held_connection(proxy)

    def held_connection_end(self, proxy: str) -> ConnectionEnd | None:
        """How the held connection ended."""
        return self._single.held_connection_end(proxy)

    def reset_connections(self, proxy: str) -> int:
        """Reset the open connections of all of them; returns how many there were."""
        return sum(map(self._single.reset_connections, self._all(proxy)))

    def _all(self, proxy: str) -> tuple[str, ...]:
        return (proxy, *self._beside.get(proxy, ()))

    def _heal(self, proxy: str, heal: Callable[[str], None]) -> None:
        """Heal all of them, whatever one raises; the first error is raised at the end."""
        errors: list[FaultError] = []
        for each in self._all(proxy):
            try:
                heal(each)
            except FaultError as error:
                errors.append(error)
        if errors:
            raise errors[0]
