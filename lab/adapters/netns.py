"""Network namespaces of the stack's services, entered from the host."""

from lab.errors import FaultError
from lab.ports import Containers


class HostNetns:
    """Implements `lab.ports.Netns`, which needs root."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def remove_chain(self, service: str, container_id: str, table: str, chain: str) -> None:
        """Remove a chain and its jumps; one that is gone already is fine."""
        raise FaultError("not built")
