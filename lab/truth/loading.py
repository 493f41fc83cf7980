"""Loads the truth through the MCP server, and checks that the store then holds exactly that."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np

from lab.errors import WorldError
from lab.model.samples import Layer
from lab.model.target import Target, value_at
from lab.observe.mcp import McpSession
from lab.truth.corpus import Truth
from lab.truth.neighbours import normalised

CONCURRENCY = 4
PAGE = 256
COSINE_MIN = 0.999
SAY_EVERY = 250


def load_truth(url: str, target: Target, truth: Truth, say: Callable[[str], None]) -> None:
    """Add every document through the MCP server; raises WorldError at the first that is not stored."""
    asyncio.run(_load(url, target, truth, say))


async def _load(url: str, target: Target, truth: Truth, say: Callable[[str], None]) -> None:
    session = McpSession(url, target.protocol_version)
    waiting, stored = list(reversed(truth.documents)), itertools.count(1)
    operation = target.operations[target.add]

    async def add_some() -> None:
        while waiting:
            document = waiting.pop()
            values = {
                "text": document.text,
                "document_id": document.id,
                "truth_collection": target.truth_collection,
                # One operation adds to both collections; here it must add to the truth.
                "writes_collection": target.truth_collection,
            }
            outcome = await session.call(operation, values, timeout_s=target.request_timeout_ms / 1000)
            if outcome.layer is not Layer.OK:
                raise WorldError(
                    "the truth could not be loaded",
                    where=f"{operation.tool}, document {document.id}",
                    last_state=f"{outcome.layer.value}: {outcome.message}",
                    try_="`lab status`, and look at the MCP server's log",
                )
            if (number := next(stored)) % SAY_EVERY == 0:
                say(f"loaded {number} of {len(truth.documents)} truth documents")

    try:
        await asyncio.gather(*(add_some() for _ in range(CONCURRENCY)))
    finally:
        await session.close()


def verify_truth(qdrant_url: str, target: Target, truth: Truth) -> float:
    """The smallest cosine between a stored vector and the vector that the lab has computed for it.

    Raises WorldError if it is below 0.999, or if documents are missing, stored twice or unknown.
    """
    expected = dict(zip((d.id for d in truth.documents), normalised(truth.vectors), strict=True))
    worst, stored = 1.0, set[str]()
    for point in _points(qdrant_url, target.truth_collection):
        name = str(value_at(point["payload"], target.stored_document_id))
        if name not in expected or name in stored:
            _refuse("a document is unknown or stored twice", target, name)
        stored.add(name)
        worst = min(worst, _best_cosine(point["vector"], expected[name]))
    if len(stored) != len(expected):
        _refuse(f"{len(stored)} of {len(expected)} documents are stored", target, "")
    if worst < COSINE_MIN:
        _refuse(f"a stored vector is not what the target's own model gives (cosine {worst:.4f})", target, "")
    return worst


def _points(qdrant_url: str, collection: str) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    body: dict[str, Any] = {"limit": PAGE, "with_payload": True, "with_vector": True}
    while True:
        url = f"{qdrant_url}/collections/{collection}/points/scroll"
        try:
            answer = (
                httpx.post(url, json=body, timeout=30, trust_env=False).raise_for_status().json()["result"]
            )
        except httpx.HTTPError as error:
            raise WorldError("the store could not be read back", where=url, last_state=str(error)) from error
        points += answer["points"]
        if answer["next_page_offset"] is None:
            return points
        body["offset"] = answer["next_page_offset"]


def _best_cosine(stored: Any, expected: "np.typing.NDArray[np.float32]") -> float:
    """The cosine with the stored dense vector of any name; sparse vectors and vectors of another size are skipped."""
    candidates = stored.values() if isinstance(stored, dict) else [stored]
    dense = [v for v in candidates if isinstance(v, list) and len(v) == len(expected)]
    if not dense:
        return -1.0
    return max(float(row @ expected) for row in normalised(np.asarray(dense, dtype=np.float32)))


def _refuse(what: str, target: Target, name: str) -> None:
    raise WorldError(
        f"the store does not hold the truth: {what}",
        where=f"collection {target.truth_collection}" + (f", document {name}" if name else ""),
        try_="run again; if it stays, the target changes documents when it stores them, so recall cannot be judged",
    )
