"""The server: its tools, and its life from the start to SIGTERM."""

import functools
import logging
import os
import signal
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import anyio
import uvicorn
from mcp.server.fastmcp import FastMCP
from pydantic import Field

from reference_server import defects
from reference_server.documents import chunks, point_id, points, question
from reference_server.embedding import DENSE_MODEL, DIMENSIONS, SPARSE_MODEL, Embedder
from reference_server.store import Store, StoreError

# A container's own network: what is published to the world is not decided here.
HOST, PORT = "0.0.0.0", 8000  # noqa: S104
COLLECTIONS = os.environ.get("REFERENCE_COLLECTIONS", "truth,writes").split(",")
SESSION_IDLE_S = float(os.environ.get("REFERENCE_SESSION_IDLE_S", "600"))
SCHEMA = {
    "vectors": {"dense": {"size": DIMENSIONS, "distance": "Cosine"}},
    "sparse_vectors": {"sparse": {"modifier": "idf"}},
}
CALL_TIMEOUT_S = 4.5
MAKE_AGAIN_S = 0.5
START_WAIT_S = 3
STOP_TIMEOUT_S = 3
# Longer than clients keep an idle connection, so that none is closed while a request is on its way.
KEEP_ALIVE_S = 120

store = Store(os.environ["QDRANT_URL"])
embedder = Embedder()
mcp = FastMCP(
    "reference",
    host=HOST,
    port=PORT,
    log_level="WARNING",
    json_response=True,
    session_idle_timeout=SESSION_IDLE_S,
)
with_defect = defects.planted(os.environ.get("REFERENCE_DEFECT", ""), os.environ["QDRANT_URL"])
log = logging.getLogger("reference")
made = anyio.Event()


def tool(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Register a tool. Each call ends in time, with its answer or with an error that the client sees (`isError`)."""

    @functools.wraps(function)
    async def call(**arguments: Any) -> Any:
        try:
            with anyio.fail_after(CALL_TIMEOUT_S):
                return await function(**arguments)
        except TimeoutError:
            raise StoreError(f"the call was not finished within {CALL_TIMEOUT_S} s") from None

    return mcp.tool()(with_defect(call))


@tool
async def search_workspace_tool(
    query: Annotated[str, Field(min_length=1)],
    collections: list[str] | None = None,
    mode: Literal["hybrid", "dense", "sparse"] = "hybrid",
    limit: Annotated[int, Field(ge=1, le=1000)] = 10,
    score_threshold: float = 0.0,
) -> dict[str, Any]:
    """Search collections by meaning (dense), by words (sparse), or by both, fused by their ranks (hybrid)."""
    body = question(await embedder.query(query, mode), limit, score_threshold)
    names, found = collections or COLLECTIONS, []
    for name in names:
        answer = await store.call("POST", f"/collections/{name}/points/query", body)
        found += [{**point, "collection": name, "search_type": mode} for point in answer["points"]]
    best = sorted(found, key=lambda point: -point["score"])[:limit]
    return {"query": query, "mode": mode, "collections_searched": names, "results": best}


@tool
async def add_document_tool(
    content: str,
    collection: str,
    document_id: str | None = None,
    metadata: dict[str, Any] | None = None,
    chunk_text: bool = True,
) -> dict[str, Any]:
    """Store a document; answered only when the store has it. The same id again overwrites it, chunk by chunk."""
    if not content.strip():
        raise ValueError("the content is empty")
    name = document_id or str(uuid.uuid4())
    pieces = chunks(content) if chunk_text else [content]
    vectors = [await embedder.document(piece) for piece in pieces]
    body = {"points": points(name, pieces, vectors, metadata or {})}
    await store.call("PUT", f"/collections/{collection}/points?wait=true", body)
    return {"document_id": name, "collection": collection, "points_added": len(pieces)}


@tool
async def get_document_tool(
    document_id: str, collection: str, include_vectors: bool = False
) -> dict[str, Any]:
    """A document by its id, its chunks in order."""

    async def read(numbers: range) -> list[Any]:
        ids = [point_id(document_id, number) for number in numbers]
        body = {"ids": ids, "with_payload": True, "with_vector": include_vectors}
        return list(await store.call("POST", f"/collections/{collection}/points", body))

    found = await read(range(1))
    if not found:
        raise LookupError(f"there is no document {document_id!r} in {collection!r}")
    if (count := found[0]["payload"]["chunk_count"]) > 1:
        found += await read(range(1, count))
    found.sort(key=lambda point: point["payload"]["chunk_index"])
    return {"document_id": document_id, "collection": collection, "chunks": found}


@tool
async def list_workspace_collections() -> list[str]:
    """The collections of the store."""
    answer = await store.call("GET", "/collections")
    return sorted(collection["name"] for collection in answer["collections"])


@tool
async def workspace_status() -> dict[str, Any]:
    """Whether the store answers, and how many points each of the server's collections has."""
    infos = {name: await store.call("GET", f"/collections/{name}") for name in COLLECTIONS}
    counts = {name: info["points_count"] for name, info in infos.items()}
    return {"connected": True, "collections": counts, "models": [DENSE_MODEL, SPARSE_MODEL]}


async def make_collections() -> None:
    """Make the server's collections as soon as the store can be reached; those that exist stay as they are."""
    for name in COLLECTIONS:
        while True:
            try:
                if not (await store.call("GET", f"/collections/{name}/exists"))["exists"]:
                    await store.call("PUT", f"/collections/{name}", SCHEMA)
                break
            except StoreError as error:
                log.warning("collection %s is not made yet: %s", name, error)
                await anyio.sleep(MAKE_AGAIN_S)
    made.set()


async def main() -> None:
    """Serve until SIGTERM; calls that are still being answered then have three seconds to end."""
    config = uvicorn.Config(
        mcp.streamable_http_app(),
        host=HOST,
        port=PORT,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )
    async with anyio.create_task_group() as background:
        background.start_soon(make_collections)
        # Whoever calls at once finds the collections, where the store is there; where it is not, nobody waits for it.
        with anyio.move_on_after(START_WAIT_S):
            await made.wait()
        # Once stopped, uvicorn sends itself the signal again; that must not turn a clean end into a failure.
        signal.signal(signal.SIGTERM, lambda *_: None)
        await uvicorn.Server(config).serve()
        background.cancel_scope.cancel()
    await store.close()


if __name__ == "__main__":
    anyio.run(main)
