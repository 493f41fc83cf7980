"""Take a link down: nobody listens any more."""

from dataclasses import dataclass
from typing import ClassVar

from lab.effects.links import TRIES, Link, Signs, judged
from lab.errors import FaultError
from lab.model.undo import EnableProxy
from lab.ports import Observation, World
from lab.ports.proxies import Exchange, Seen


@dataclass(frozen=True, slots=True)
class LinkDown:
    """Refuses new connections on a link and closes those that are open.

    Source: Toxiproxy's `enabled: false`; there is no direction and no toxicity to it.
    """

    kind: ClassVar[str] = "link_down"
    family: ClassVar[str] = "link"
    services: ClassVar[tuple[str, ...]] = ("qdrant", "mcp")
    needs: ClassVar[tuple[str, ...]] = ("root",)
    transient: ClassVar[bool] = False

    target: Link

    def prepare(self, world: World) -> EnableProxy:
        """The proxy must be enabled; opens the connection on which the close of open ones is seen."""
        world.proxies.require_enabled(self.target)
        world.proxies.keep_open(self.target)
        return EnableProxy(proxy=self.target)

    def inject(self, world: World, undo: EnableProxy) -> None:
        """Disable the proxy."""
        world.proxies.disable(undo.proxy)

    def observe(self, world: World, before: Observation | None) -> Observation:
        """In force when every connect is refused, and the connection that was open before has ended."""
        seen = world.proxies.exchange(self.target, Exchange(patience_s=10.0), TRIES)
        kept = world.proxies.kept_end(self.target)

        def hit(one: Seen) -> bool:
            return before is not None and one.end == "refused" and kept is not None

        def clean(one: Seen) -> bool:
            return one.end == "answered"

        share = sum(one.end == "refused" for one in seen) / len(seen)
        said = f"the connection that was open before: {kept or 'still open, or there was none'}"
        return judged(seen, Signs(hit, clean), 1.0, share, "share of connections", said)

    @staticmethod
    def heal(world: World, undo: EnableProxy) -> None:
        """Enable the proxy and read it back; one that is enabled already is fine."""
        world.proxies.enable(undo.proxy)
        if not world.proxies.is_enabled(undo.proxy):
            raise FaultError(
                f"the proxy {undo.proxy!r} is still disabled after it was enabled",
                try_="`lab heal`; restarting the toxiproxy container enables all proxies",
            )


FAULT = LinkDown
