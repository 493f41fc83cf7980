"""Text conditions: by words where the key has a text index, and by substring where it has none."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient, models

TEXTS = ("cat dog", "Cat", "dog cat", "the cat, a dog!", "concatenate", "", "naïve ✓ École", "bird")
QUERIES = ("cat", "cat dog", "at", "t d", "CAT", "!", "ve ✓ É", " ", "nothing like it")


def words(text: str) -> list[str]:
    """The words of a text, as the tokenizer `word` splits it."""
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


@pytest.fixture
def filled(client: QdrantClient, name: str) -> str:
    """A collection with one point per text: alone, in an array, and inside an array of objects."""
    client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    points = [
        models.PointStruct(
            id=i,
            vector=[1.0, i],
            payload={"t": text, "list": [1, text, None], "parts": [{"t": text}, {"t": 5}]},
        )
        for i, text in enumerate(TEXTS)
    ]
    client.upsert(name, points)
    return name


def found(client: QdrantClient, name: str, *conditions: Any) -> list[Any]:
    """The ids of the points that meet all conditions."""
    records, _ = client.scroll(name, scroll_filter=models.Filter(must=list(conditions)), limit=len(TEXTS))
    return [record.id for record in records]


def expected(holds: Callable[[str], bool]) -> list[int]:
    """The ids of the texts for which something holds."""
    return [i for i, text in enumerate(TEXTS) if holds(text)]


@pytest.mark.parametrize("key", ["t", "list", "list[]", "parts[].t"])
@pytest.mark.parametrize("query", QUERIES)
def test_without_a_text_index_the_value_contains_the_text(
    client: QdrantClient, filled: str, key: str, query: str
) -> None:
    containing = expected(lambda text: query in text)
    text = models.FieldCondition(key=key, match=models.MatchText(text=query))
    phrase = models.FieldCondition(key=key, match=models.MatchPhrase(phrase=query))
    assert found(client, filled, text) == containing
    assert found(client, filled, phrase) == containing
    assert client.count(filled, count_filter=models.Filter(must_not=[text])).count == len(TEXTS) - len(
        containing
    )


def test_an_index_of_another_kind_changes_nothing(client: QdrantClient, filled: str) -> None:
    client.create_payload_index(filled, "t", field_schema=models.PayloadSchemaType.KEYWORD)
    condition = models.FieldCondition(key="t", match=models.MatchText(text="at"))
    assert found(client, filled, condition) == expected(lambda text: "at" in text)


@pytest.mark.parametrize("query", ["cat", "cat dog", "at", "CAT", "dog cat"])
def test_with_a_text_index_every_word_must_be_there(client: QdrantClient, filled: str, query: str) -> None:
    index = models.TextIndexParams(type=models.TextIndexType.TEXT, tokenizer=models.TokenizerType.WORD)
    client.create_payload_index(filled, "t", field_schema=index)
    condition = models.FieldCondition(key="t", match=models.MatchText(text=query))
    assert found(client, filled, condition) == expected(lambda text: set(words(query)) <= set(words(text)))
    client.delete_payload_index(filled, "t")
    assert found(client, filled, condition) == expected(lambda text: query in text)


def test_a_nested_filter_asks_the_text_index(client: QdrantClient, filled: str) -> None:
    inner = models.FieldCondition(key="t", match=models.MatchText(text="at"))
    nested = models.NestedCondition(nested=models.Nested(key="parts", filter=models.Filter(must=[inner])))
    assert found(client, filled, nested) == expected(lambda text: "at" in text)
    client.create_payload_index(filled, "parts[].t", field_schema=models.PayloadSchemaType.TEXT)
    assert found(client, filled, nested) == []


def test_any_of_the_pieces_between_white_space(raw: httpx.Client, filled: str, edge_only: None) -> None:
    """Qdrant has `text_any` since 1.16; the client 1.15.1 cannot send it."""
    for query in ("nat irds", "og  CAT", "", " "):
        pieces = query.split()
        holding = [i for i, text in enumerate(TEXTS) if any(piece in text for piece in pieces)]
        body = {"filter": {"must": [{"key": "t", "match": {"text_any": query}}]}}
        points = raw.post(f"/collections/{filled}/points/scroll", json=body).json()["result"]["points"]
        assert [point["id"] for point in points] == holding


def test_a_quoted_key_beside_a_text_index_is_501(
    raw: httpx.Client, client: QdrantClient, filled: str, edge_only: None
) -> None:
    """It may be the indexed key in another spelling."""
    client.create_payload_index(filled, "t", field_schema=models.PayloadSchemaType.TEXT)
    body = {"filter": {"must": [{"key": '"t"', "match": {"text": "cat"}}]}}
    assert raw.post(f"/collections/{filled}/points/count", json=body).status_code == 501
