"""Payload indexes: made, shown, used, removed."""

import pytest
from qdrant_client import QdrantClient, models

KINDS = ["keyword", "integer", "float", "bool", "geo", "datetime", "text", "uuid"]


@pytest.fixture
def filled(client: QdrantClient, name: str) -> str:
    """Ten points with a number and a word."""
    client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    points = [
        models.PointStruct(id=i, vector=[1.0, 2.0], payload={"n": i, "word": f"w{i}"}) for i in range(10)
    ]
    client.upsert(name, points)
    return name


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_of_every_type_is_shown(client: QdrantClient, filled: str, kind: str) -> None:
    done = client.create_payload_index(filled, "some.key", field_schema=models.PayloadSchemaType(kind))
    assert done.status == models.UpdateStatus.COMPLETED
    shown = client.get_collection(filled).payload_schema["some.key"]
    assert (shown.data_type, shown.points) == (models.PayloadSchemaType(kind), 0)


def test_points_are_counted_and_the_index_removed(client: QdrantClient, filled: str) -> None:
    client.create_payload_index(filled, "n", field_schema="integer")
    assert client.get_collection(filled).payload_schema["n"].points == 10
    client.delete_payload_index(filled, "n")
    assert client.get_collection(filled).payload_schema == {}


def test_parameters_are_shown_as_given(client: QdrantClient, filled: str) -> None:
    number = models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False)
    client.create_payload_index(filled, "n", field_schema=number)
    word = models.TextIndexParams(
        type=models.TextIndexType.TEXT,
        tokenizer=models.TokenizerType.PREFIX,
        min_token_len=2,
        max_token_len=9,
        lowercase=True,
    )
    client.create_payload_index(filled, "word", field_schema=word)
    schema = client.get_collection(filled).payload_schema
    assert isinstance(schema["n"].params, models.IntegerIndexParams)
    assert (schema["n"].params.lookup, schema["n"].params.range) == (True, False)
    assert isinstance(schema["word"].params, models.TextIndexParams)
    assert (schema["word"].params.tokenizer, schema["word"].params.min_token_len) == (
        models.TokenizerType.PREFIX,
        2,
    )


def test_a_text_index_matches_by_token(client: QdrantClient, filled: str) -> None:
    client.upsert(filled, [models.PointStruct(id=77, vector=[1.0, 1.0], payload={"word": "Quick brown fox"})])
    client.create_payload_index(
        filled,
        "word",
        field_schema=models.TextIndexParams(
            type=models.TextIndexType.TEXT, tokenizer=models.TokenizerType.WORD, lowercase=True
        ),
    )
    for text, found in (("fox quick", [77]), ("qui", []), ("w3", [3])):
        wanted = models.Filter(must=[models.FieldCondition(key="word", match=models.MatchText(text=text))])
        assert [r.id for r in client.scroll(filled, scroll_filter=wanted)[0]] == found
