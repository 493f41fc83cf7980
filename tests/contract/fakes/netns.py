"""Network namespaces in memory."""

from dataclasses import dataclass, field


@dataclass
class FakeNetns:
    """Chains by service; `deaf` services accept rules that match nothing."""

    deaf: set[str] = field(default_factory=set)

    def remove_chain(self, service: str, container_id: str, table: str, chain: str) -> None:
        raise NotImplementedError
