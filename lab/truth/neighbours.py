"""Exact nearest neighbours, computed by brute force in float32, with ties."""

import numpy as np
from numpy.typing import NDArray

from lab.probes.recall import TruthQuery

# Rounding alone can swap two documents whose cosines differ by less than this.
TIE = 1e-3

Vectors = NDArray[np.float32]


def normalised(vectors: Vectors) -> Vectors:
    """The rows scaled to length 1, `float32[n, d]`; raises ValueError for a row of length 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(lengths > 0):
        raise ValueError("an embedding has length 0")
    return np.asarray(vectors / lengths, dtype=np.float32)


def truth_queries(
    query_ids: list[str],
    texts: list[str],
    queries: Vectors,
    document_ids: list[str],
    documents: Vectors,
    k: int,
) -> list[TruthQuery]:
    """For each query its exact top `k` documents by cosine, and all that tie with the k-th (within 1e-3)."""
    similarity = normalised(queries) @ normalised(documents).T
    kth = np.partition(similarity, -k, axis=1)[:, -k]
    return [
        TruthQuery(
            id=query_id,
            text=text,
            accepted=frozenset(document_ids[index] for index in np.flatnonzero(row >= bar - TIE)),
        )
        for query_id, text, row, bar in zip(query_ids, texts, similarity, kth, strict=True)
    ]
