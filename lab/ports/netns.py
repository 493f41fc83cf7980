"""The network namespaces of the stack's services: rules, qdiscs, and what can be reached from inside."""

from typing import Protocol


class Netns(Protocol):
    """Enters a service's network namespace from the host; the host's own is refused (FaultError)."""

    def remove_chain(self, service: str, container_id: str, table: str, chain: str) -> None: ...
