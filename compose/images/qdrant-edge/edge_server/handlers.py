"""What each REST call does. A handler gets a Call and returns the `result` of the answer."""

import asyncio
from typing import Any

import qdrant_edge as edge

from edge_server.calls import Call
from edge_server.collection import CHUNK_POINTS, Collection
from edge_server.errors import BadRequestError, NotFoundError, bad_format, engine_call
from edge_server.field_index import parse_create_index, parse_delete_index
from edge_server.fields import Fields
from edge_server.filters import parse_filter
from edge_server.point_ids import parse_id, parse_path_id, render_id
from edge_server.queries import (
    QueryContext,
    parse_count,
    parse_query,
    parse_retrieve,
    parse_scroll,
    parse_search,
)
from edge_server.query_rules import has_scores
from edge_server.vectors import parse_points, render_record, render_scored

_READ = ("consistency", "timeout")
_WRITE = ("wait", "ordering", "timeout")
_DDL = ("timeout",)


async def list_collections(call: Call) -> Any:
    """GET /collections"""
    call.parameters()
    return {"collections": [{"name": name} for name in call.registry.names()]}


async def get_collection(call: Call) -> Any:
    """GET /collections/{name}"""
    call.parameters()
    return call.collection.info()


async def collection_exists(call: Call) -> Any:
    """GET /collections/{name}/exists"""
    call.parameters()
    return {"exists": call.registry.has(call.name)}


async def create_collection(call: Call) -> Any:
    """PUT /collections/{name}"""
    call.parameters(*_DDL)
    await call.registry.create(call.name, call.body())
    return True


async def update_collection(call: Call) -> Any:
    """PATCH /collections/{name}"""
    call.parameters(*_DDL)
    await call.collection.update_config(call.body())
    return True


async def delete_collection(call: Call) -> Any:
    """DELETE /collections/{name}"""
    call.parameters(*_DDL)
    return await call.registry.delete(call.name)


async def upsert_points(call: Call) -> Any:
    """PUT /collections/{name}/points. Every point is checked before the first is written."""
    wait, collection = _wait(call), call.collection
    points: list[edge.Point] = []
    for point in parse_points(call.body(), collection.schema):
        points.append(point)
        if len(points) % CHUNK_POINTS == 0:
            await asyncio.sleep(0)
    operations = upsert_operations(points)
    await collection.write(operations, upserts=len(points), size_bytes=len(call.raw))
    return _updated(wait)


def upsert_operations(points: list[edge.Point]) -> list[edge.UpdateOperation]:
    """Engine operations of at most CHUNK_POINTS points each."""
    firsts = range(0, len(points), CHUNK_POINTS)
    return [edge.UpdateOperation.upsert_points(points[first : first + CHUNK_POINTS]) for first in firsts]


async def delete_points(call: Call) -> Any:
    """POST /collections/{name}/points/delete, by ids or by filter"""
    wait, collection = _wait(call), call.collection
    fields = Fields(call.body(), "body")
    ids = fields.items("points")
    wanted = parse_filter(fields.take("filter"), "body.filter", collection.indexes())
    fields.refuse("shard_key")
    fields.done()
    if (ids is None) == (wanted is None):
        raise bad_format("body", "expected exactly one of `points` and `filter`")
    if wanted is not None:
        operation = edge.UpdateOperation.delete_points_by_filter(wanted)
    else:
        operation = edge.UpdateOperation.delete_points([parse_id(item) for item in ids])
    await collection.write([operation], size_bytes=len(call.raw))
    return _updated(wait)


async def create_index(call: Call) -> Any:
    """PUT /collections/{name}/index"""
    wait, collection = _wait(call), call.collection
    await collection.write([parse_create_index(call.body())])
    return _updated(wait)


async def delete_index(call: Call) -> Any:
    """DELETE /collections/{name}/index/{field}"""
    wait, collection = _wait(call), call.collection
    await collection.write([parse_delete_index(call.request.path_params["field"])])
    return _updated(wait)


async def search_points(call: Call) -> Any:
    """POST /collections/{name}/points/search"""
    call.parameters(*_READ)
    collection = call.collection
    return _scored(collection, parse_search(call.body(), _context(collection)))


async def query_points(call: Call) -> Any:
    """POST /collections/{name}/points/query"""
    call.parameters(*_READ)
    collection = call.collection
    return {"points": _scored(collection, parse_query(call.body(), _context(collection)))}


async def scroll_points(call: Call) -> Any:
    """POST /collections/{name}/points/scroll"""
    call.parameters(*_READ)
    collection = call.collection
    request = parse_scroll(call.body(), collection.indexes())
    records, following = engine_call(lambda: collection.shard.scroll(request))
    offset = render_id(following) if following is not None else None
    return {"points": [render_record(record) for record in records], "next_page_offset": offset}


async def count_points(call: Call) -> Any:
    """POST /collections/{name}/points/count"""
    call.parameters(*_READ)
    collection = call.collection
    request = parse_count(call.body(), collection.indexes())
    return {"count": engine_call(lambda: collection.shard.count(request))}


async def retrieve_points(call: Call) -> Any:
    """POST /collections/{name}/points"""
    call.parameters(*_READ)
    collection, (ids, shown) = call.collection, parse_retrieve(call.body())
    records = engine_call(lambda: collection.shard.retrieve([*ids], **shown))
    return [render_record(record) for record in records]


async def get_point(call: Call) -> Any:
    """GET /collections/{name}/points/{id}"""
    call.parameters(*_READ)
    collection, point_id = call.collection, parse_path_id(call.request.path_params["id"])
    records = engine_call(lambda: collection.shard.retrieve([point_id], with_payload=True, with_vector=True))
    if not records:
        raise NotFoundError(f"Not found: Point with id {point_id} does not exists!")
    return render_record(records[0])


def _scored(collection: Collection, request: edge.QueryRequest) -> list[dict[str, Any]]:
    points, scored = engine_call(lambda: collection.shard.query(request)), has_scores(request)
    return [render_scored(point, scored=scored) for point in points]


def _context(collection: Collection) -> QueryContext:
    return QueryContext(collection.schema, collection.stored_vector, collection.indexes())


def _wait(call: Call) -> bool:
    """Whether the caller asked to wait. Writes are applied before the answer either way."""
    wait = call.parameters(*_WRITE).get("wait", "false")
    if wait not in ("true", "false"):
        raise BadRequestError(f"Format error in query parameters: wait: expected true or false, got `{wait}`")
    return wait == "true"


def _updated(wait: bool) -> dict[str, Any]:
    """The engine does not tell the number of the operation, so there is none."""
    return {"operation_id": None, "status": "completed" if wait else "acknowledged"}
