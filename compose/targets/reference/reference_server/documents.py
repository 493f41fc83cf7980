"""Documents as points of the store: cut into chunks, with ids that follow from the document's own."""

import uuid
from collections.abc import Sequence
from typing import Any

CHUNK_CHARS, OVERLAP_CHARS = 1000, 100
NAMESPACE = uuid.UUID("8a9c5f0e-6f43-4f0e-9d56-5c1f0d2b7e11")


def point_id(document_id: str, chunk: int) -> str:
    """The same for the same chunk every time, so that a repeated write stores nothing twice."""
    return str(uuid.uuid5(NAMESPACE, f"{document_id}\n{chunk}"))


def chunks(text: str) -> list[str]:
    """Pieces of at most 1000 characters, cut at a space where there is one, each overlapping the one before."""
    pieces, start = [], 0
    while len(text) - start > CHUNK_CHARS:
        space = text.rfind(" ", start + OVERLAP_CHARS + 1, start + CHUNK_CHARS)
        end = space if space > 0 else start + CHUNK_CHARS
        pieces.append(text[start:end])
        start = end - OVERLAP_CHARS
    return [*pieces, text[start:]]


def points(
    document_id: str, pieces: Sequence[str], vectors: Sequence[Any], metadata: dict[str, Any]
) -> list[dict[str, Any]]:
    """What is stored of a document: one point for each of its pieces."""
    return [
        {
            "id": point_id(document_id, number),
            "vector": vector,
            "payload": {
                **metadata,
                "document_id": document_id,
                "content": piece,
                "chunk_index": number,
                "chunk_count": len(pieces),
            },
        }
        for number, (piece, vector) in enumerate(zip(pieces, vectors, strict=True))
    ]


def question(vectors: dict[str, Any], limit: int, score_threshold: float) -> dict[str, Any]:
    """The body of a query by one vector, or by several whose ranks are fused; the threshold is for single scores."""
    fused = len(vectors) > 1
    asked = [
        {"query": vector, "using": name, "limit": limit * (1 + fused), "score_threshold": score_threshold}
        for name, vector in vectors.items()
    ]
    if not fused:
        return {**asked[0], "with_payload": True}
    return {"prefetch": asked, "query": {"fusion": "rrf"}, "limit": limit, "with_payload": True}
