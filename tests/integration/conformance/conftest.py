"""Fixtures of the conformance suite.

`QDRANT_CONFORMANCE_URL` names the Qdrant to test; without it, the embedded-engine server is started from
this repository.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from qdrant_client import QdrantClient

sys.path[:0] = [str(Path(__file__).parent)]

from edge_process import IMAGE_FOLDER, EdgeProcess  # noqa: E402 - found on the path just set

sys.path[:0] = [str(IMAGE_FOLDER)]

URL = os.environ.get("QDRANT_CONFORMANCE_URL", "")


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of the Qdrant under test."""
    if URL:
        yield URL
        return
    server = EdgeProcess(tmp_path_factory.mktemp("conformance") / "storage")
    server.start()
    yield server.url
    assert server.stop() == 0, server.log


@pytest.fixture(scope="session")
def client(url: str) -> Iterator[QdrantClient]:
    """The real client, on that URL."""
    connected = QdrantClient(url=url, timeout=30)
    yield connected
    connected.close()


@pytest.fixture(scope="session")
def raw(url: str) -> Iterator[httpx.Client]:
    """Plain HTTP on that URL, for what the client hides or cannot send."""
    with httpx.Client(base_url=url, timeout=30) as connected:
        yield connected


@pytest.fixture
def name(client: QdrantClient) -> Iterator[str]:
    """A collection name of one's own; the collection is deleted afterwards."""
    chosen = f"conformance-{uuid4().hex[:12]}"
    yield chosen
    client.delete_collection(chosen)


def is_embedded(raw: httpx.Client) -> bool:
    """Whether the Qdrant under test is the embedded-engine server of this repository."""
    return str(raw.get("/").json()["title"]).startswith("qdrant-edge")


@pytest.fixture
def refusals(raw: httpx.Client) -> frozenset[int]:
    """The status codes that refuse a malformed vector: 400 and 422.

    Qdrant 1.18.3 answers one of the malformed vectors of `test_points.py` with 500, so from another Qdrant that
    code counts as a refusal too.
    """
    return frozenset({400, 422} if is_embedded(raw) else {400, 422, 500})


@pytest.fixture
def edge_only(raw: httpx.Client) -> None:
    """For what only the embedded-engine server promises (refusals by name, its identity)."""
    if not is_embedded(raw):
        pytest.skip("QDRANT_CONFORMANCE_URL names another Qdrant: only the embedded engine promises this")


@pytest.fixture
def own_process() -> None:
    """For what needs a server of this repository in a process of the test's own."""
    if URL:
        pytest.skip("QDRANT_CONFORMANCE_URL is set: this test kills and restarts a server of its own")


@pytest.fixture
def edge(tmp_path: Path, own_process: None) -> Iterator[EdgeProcess]:
    """A server of one's own, started, to be killed and restarted at will."""
    server = EdgeProcess(tmp_path / "storage")
    server.start()
    yield server
    server.kill()
