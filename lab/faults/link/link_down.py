"""Take a link down: no process listens on it any more."""

from dataclasses import dataclass
from typing import ClassVar

from lab.errors import FaultError
from lab.faults.conflicts import LINK
from lab.faults.link.proof import CONNECTIONS_MIN
from lab.faults.link.toxic import Link
from lab.model.scenario import STOPS
from lab.model.undo import EnableProxy
from lab.ports import Fault, Observation, World
from lab.ports.proxies import Exchange


@dataclass(frozen=True, slots=True)
class LinkDown(Fault):
    """Refuses new connections on a link and closes those that are open.

    Source: Toxiproxy's `enabled: false`, which has no direction and no toxicity.
    """

    kind: ClassVar[str] = "link_down"
    family: ClassVar[str] = "link"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp")
    needs: ClassVar[tuple[str, ...]] = ("root",)
    resources: ClassVar[tuple[str, ...]] = LINK
    own_effect: ClassVar[str] = STOPS

    target: Link

    def prepare(self, world: World) -> EnableProxy:
        """Raises FaultError where the proxy is disabled; opens a connection to see that open ones are closed."""
        world.proxies.require_enabled(self.target)
        world.proxies.open_held_connection(self.target)
        return EnableProxy(proxy=self.target)

    def inject(self, world: World, undo: EnableProxy) -> None:
        """Disable the proxy."""
        world.proxies.disable(undo.proxy)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when every connect is refused, and the connection that was open before has ended."""
        results = world.proxies.exchange(self.target, Exchange(timeout_s=10.0), CONNECTIONS_MIN)
        kept = world.proxies.held_connection_end(self.target)

        share = sum(result.end == "refused" for result in results) / len(results)
        holds = before is not None and share == 1.0 and kept is not None
        absent = all(result.end == "answered" for result in results)
        message = f"the connection that was open before: {kept or 'still open, or there was none'}"
        message += f"; new connections: {', '.join(result.end for result in results)}"
        return Observation(share, "share of connections refused", holds, absent, message)

    @staticmethod
    def heal(world: World, undo: EnableProxy) -> None:
        """Enable the proxy and read that back; a proxy that is enabled already is fine."""
        world.proxies.enable(undo.proxy)
        if not world.proxies.is_enabled(undo.proxy):
            raise FaultError(
                f"the proxy {undo.proxy!r} is still disabled after it was enabled",
                try_="`lab heal`; restarting the toxiproxy container enables all proxies",
            )


FAULT = LinkDown
