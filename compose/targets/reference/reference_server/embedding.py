"""Dense and sparse vectors from the models in the image, computed in worker threads."""

import os
from typing import Any

import anyio
from fastembed import SparseTextEmbedding, TextEmbedding

DENSE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SPARSE_MODEL = "Qdrant/bm25"
DIMENSIONS = 384


class Embedder:
    """Both models. A text is embedded by one thread, so that as many calls as there are cores run side by side."""

    def __init__(self) -> None:
        self._dense = TextEmbedding(DENSE_MODEL, threads=1)
        self._sparse = SparseTextEmbedding(SPARSE_MODEL, specific_model_path=os.environ["BM25_PATH"])
        self._workers = anyio.CapacityLimiter(os.cpu_count() or 1)

    async def document(self, text: str) -> dict[str, Any]:
        """The named vectors under which a text is stored."""
        return await anyio.to_thread.run_sync(self._document, text, limiter=self._workers)

    async def query(self, text: str, mode: str) -> dict[str, Any]:
        """The named vectors that a search in `mode` asks with; words alone have a weight in the sparse one."""
        return await anyio.to_thread.run_sync(self._query, text, mode, limiter=self._workers)

    def _document(self, text: str) -> dict[str, Any]:
        return {
            "dense": next(iter(self._dense.embed(text))).tolist(),
            "sparse": _sparse(next(iter(self._sparse.embed(text)))),
        }

    def _query(self, text: str, mode: str) -> dict[str, Any]:
        vectors: dict[str, Any] = {}
        if mode != "sparse":
            vectors["dense"] = next(iter(self._dense.query_embed(text))).tolist()
        if mode != "dense":
            vectors["sparse"] = _sparse(next(iter(self._sparse.query_embed(text))))
        return vectors


def _sparse(vector: Any) -> dict[str, list[Any]]:
    return {"indices": vector.indices.tolist(), "values": vector.values.tolist()}
