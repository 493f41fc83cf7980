"""A fault of a link acts on every proxy of its service, and its heal reaches all of them."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from lab.errors import FaultError
from lab.host.links.service_links import ServiceLinks
from tests.contract.fakes import FakeProxies

TOXIC: dict[str, Any] = {"kind": "latency", "stream": "downstream", "attributes": {"latency": 50}}


@dataclass
class Failing(FakeProxies):
    """Proxies of which one cannot be healed."""

    broken: str = ""
    healed: list[str] = field(default_factory=list)

    def enable(self, proxy: str) -> None:
        self.healed.append(proxy)
        if proxy == self.broken:
            raise FaultError(f"{proxy} cannot be enabled")
        super().enable(proxy)


def test_a_toxic_is_on_each_of_them_and_goes_from_each() -> None:
    single = FakeProxies()
    links = ServiceLinks(single, {"qdrant": ("qdrant_grpc",), "mcp": ()})
    links.add_toxic("qdrant", name="lab-latency", **TOXIC)
    links.add_toxic("mcp", name="lab-other", **TOXIC)
    assert (
        single.toxics("qdrant") == single.toxics("qdrant_grpc") == ["lab-latency"] == links.toxics("qdrant")
    )
    links.remove_toxic("qdrant", name="lab-latency")
    assert single.toxics("qdrant") == single.toxics("qdrant_grpc") == []
    assert single.toxics("mcp") == ["lab-other"]


def test_a_link_is_up_when_all_of_them_are() -> None:
    single = FakeProxies()
    links = ServiceLinks(single, {"qdrant": ("qdrant_grpc",)})
    links.disable("qdrant")
    assert not single.is_enabled("qdrant_grpc")
    single.enable("qdrant")
    assert not links.is_enabled("qdrant"), "its gRPC is still down"
    links.enable("qdrant")
    assert links.is_enabled("qdrant") and single.is_enabled("qdrant_grpc")


def test_one_that_cannot_be_healed_does_not_keep_the_others_from_it() -> None:
    single = Failing(broken="qdrant")
    links = ServiceLinks(single, {"qdrant": ("qdrant_grpc",)})
    with pytest.raises(FaultError, match="qdrant cannot be enabled"):
        links.enable("qdrant")
    assert single.healed == ["qdrant", "qdrant_grpc"]
