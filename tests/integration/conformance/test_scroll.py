"""Scrolling: every point exactly once, in order, whatever the page size."""

import uuid

import pytest
from qdrant_client import QdrantClient, models

NUMBERS = 137


@pytest.fixture
def mixed(client: QdrantClient, name: str) -> str:
    """A collection whose ids are integers and UUIDs."""
    client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    ids: list[int | str] = [
        *range(NUMBERS),
        *(str(uuid.uuid5(uuid.NAMESPACE_OID, str(i))) for i in range(40)),
    ]
    client.upsert(
        name, [models.PointStruct(id=i, vector=[1.0, 2.0], payload={"n": n}) for n, i in enumerate(ids)]
    )
    return name


@pytest.mark.parametrize("page", [1, 7, 50, 177, 1000])
def test_pages_are_complete(client: QdrantClient, mixed: str, page: int) -> None:
    seen: list[object] = []
    offset: models.ExtendedPointId | None = None
    while True:
        records, offset = client.scroll(mixed, limit=page, offset=offset, with_payload=page != 1)
        seen += [r.id for r in records]
        assert len(records) <= page
        if offset is None:
            break
        assert len(records) == page
    assert len(seen) == len(set(map(str, seen))) == NUMBERS + 40
    assert seen[:NUMBERS] == list(range(NUMBERS))
    assert seen[NUMBERS:] == sorted(map(str, seen[NUMBERS:]))


def test_a_filtered_scroll_pages_too(client: QdrantClient, mixed: str) -> None:
    low = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(lt=25))])
    first, offset = client.scroll(mixed, scroll_filter=low, limit=20)
    rest, end = client.scroll(mixed, scroll_filter=low, limit=20, offset=offset)
    assert ([r.id for r in first + rest], end) == (list(range(25)), None)


def test_an_empty_scroll(client: QdrantClient, mixed: str) -> None:
    none = models.Filter(must=[models.FieldCondition(key="n", match=models.MatchValue(value=-1))])
    assert client.scroll(mixed, scroll_filter=none) == ([], None)


def test_order_by(client: QdrantClient, mixed: str) -> None:
    client.create_payload_index(mixed, "n", field_schema=models.PayloadSchemaType.INTEGER)
    order = models.OrderBy(key="n", direction=models.Direction.DESC, start_from=30)
    records, offset = client.scroll(mixed, order_by=order, limit=4)
    assert ([r.payload["n"] for r in records if r.payload], offset) == ([30, 29, 28, 27], None)
    ascending, _ = client.scroll(mixed, order_by="n", limit=2)
    assert [r.id for r in ascending] == [0, 1]


def test_points_that_come_and_go_between_pages(client: QdrantClient, mixed: str) -> None:
    first, offset = client.scroll(mixed, limit=50)
    client.delete(mixed, models.PointIdsList(points=[0, 1, 60]))
    client.upsert(mixed, [models.PointStruct(id=5000, vector=[0.0, 0.0])])
    rest, _ = client.scroll(mixed, limit=1000, offset=offset)
    ids = [r.id for r in first + rest]
    assert len(ids) == len(set(map(str, ids)))
    assert 60 not in ids
    assert 5000 in ids
