"""Vectors and points, from JSON to the engine and back, checked against the collection's vector schema.

The engine must never see a malformed vector: it logs an operation before it looks at it, a batch with one bad
vector is applied up to that vector, and a malformed sparse vector makes it panic, again at every restart
(engine 0.9.0).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import qdrant_edge as edge

from edge_server.collection_config import Config, dense_vectors, sparse_vectors
from edge_server.errors import MissingFeatureError, OutOfBoundsError, bad_format, engine_call, wrong_input
from edge_server.fields import MISSING, Fields, kind_of
from edge_server.point_ids import parse_id, render_id

_MAX_SPARSE_INDEX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class VectorSchema:
    """The vector names of a collection: dense with their dimensions, and sparse."""

    dense: dict[str, int]
    sparse: frozenset[str]

    @classmethod
    def of(cls, config: Config) -> "VectorSchema":
        """The schema of a collection's configuration."""
        dense = {name: int(params["size"]) for name, params in dense_vectors(config).items()}
        return cls(dense, frozenset(sparse_vectors(config)))


def parse_vector(value: object, name: str, schema: VectorSchema, where: str) -> Any:
    """One vector for a vector name: an array of numbers, or `{indices, values}` where the name is sparse."""
    if name in schema.dense:
        return _dense(value, schema.dense[name], where)
    if name in schema.sparse:
        return _sparse(value, where)
    raise wrong_input(f"Not existing vector name error: {name}")


def _dense(value: object, size: int, where: str) -> list[float]:
    if isinstance(value, dict) and ("text" in value or "image" in value or "object" in value):
        raise MissingFeatureError(f"inference in `{where}`")
    if not isinstance(value, list):
        raise bad_format(where, f"expected an array of numbers, got {kind_of(value)}")
    if value and isinstance(value[0], list):
        raise MissingFeatureError(f"multivectors in `{where}`")
    if len(value) != size:
        raise wrong_input(f"Vector dimension error: expected dim: {size}, got {len(value)}")
    return value


def _sparse(value: object, where: str) -> edge.SparseVector:
    fields = Fields(value, where)
    if fields.has("text"):
        raise MissingFeatureError(f"inference in `{where}`")
    indices, values = fields.items("indices", MISSING), fields.items("values", MISSING)
    fields.done()
    if len(indices) != len(values):
        raise OutOfBoundsError(
            f"Validation error in JSON body: [{where}.values: must be the same length as indices]"
        )
    if len(set(indices)) != len(indices):
        raise OutOfBoundsError(f"Validation error in JSON body: [{where}.indices: must be unique]")
    if any(type(index) is not int or not 0 <= index <= _MAX_SPARSE_INDEX for index in indices):
        raise bad_format(f"{where}.indices", "expected unsigned 32-bit integers")
    return engine_call(lambda: edge.SparseVector(indices, values))


def parse_points(body: object, schema: VectorSchema) -> Iterator[edge.Point]:
    """The points of an upsert request, lazily, so that the caller can let others run in between."""
    fields = Fields(body, "body")
    fields.refuse("shard_key", "update_filter", "update_mode")
    points, batch = fields.items("points"), fields.take("batch")
    fields.done()
    if (points is None) == (batch is None):
        raise bad_format("body", "expected exactly one of `points` and `batch`")
    if batch is not None:
        return _batch(batch, schema)
    if not points:
        raise wrong_input("Empty update request")
    return (_point(item, schema, f"body.points[{number}]") for number, item in enumerate(points))


def _point(body: object, schema: VectorSchema, where: str) -> edge.Point:
    fields = Fields(body, where)
    point_id = parse_id(fields.take("id", MISSING))
    vector = _vector_struct(fields.take("vector", MISSING), schema, f"{where}.vector")
    payload = fields.take("payload")
    fields.done()
    return _engine_point(point_id, vector, payload, where)


def _engine_point(point_id: int | str, vector: Any, payload: object, where: str) -> edge.Point:
    if payload is not None and not isinstance(payload, dict):
        raise bad_format(f"{where}.payload", f"expected an object, got {kind_of(payload)}")
    return engine_call(lambda: edge.Point(point_id, vector, payload or {}))


def _vector_struct(value: Any, schema: VectorSchema, where: str) -> Any:
    """A point's vectors: one array for the unnamed vector, or an object by vector name."""
    if isinstance(value, dict):
        return {name: parse_vector(vector, name, schema, f"{where}.{name}") for name, vector in value.items()}
    return {"": parse_vector(value, "", schema, where)}


def _batch(body: object, schema: VectorSchema) -> Iterator[edge.Point]:
    """The columnar form: ids, vectors (one array, or one per name) and payloads of equal length."""
    fields = Fields(body, "body.batch")
    ids, vectors = fields.items("ids", MISSING), fields.take("vectors", MISSING)
    payloads = fields.items("payloads", [None] * len(ids))
    fields.done()
    columns = vectors if isinstance(vectors, dict) else {"": vectors}
    if not ids:
        raise wrong_input("Empty update request")
    lengths = {len(column) if isinstance(column, list) else -1 for column in columns.values()} | {
        len(payloads)
    }
    if lengths != {len(ids)}:
        raise wrong_input(f"batch of {len(ids)} ids needs as many vectors and payloads")
    return (_batch_point(i, parse_id(ids[i]), columns, payloads[i], schema) for i in range(len(ids)))


def _batch_point(
    i: int, point_id: int | str, columns: Config, payload: object, schema: VectorSchema
) -> edge.Point:
    where = f"body.batch[{i}]"
    vector = {n: parse_vector(c[i], n, schema, where) for n, c in columns.items() if c[i] is not None}
    return _engine_point(point_id, vector, payload, where)


def render_vector(vector: Any) -> Any:
    """A stored vector as JSON; the unnamed one stands alone where it is the only one, as in Qdrant."""
    if isinstance(vector, edge.SparseVector):
        return {"indices": vector.indices, "values": vector.values}
    if isinstance(vector, dict):
        if list(vector) == [""]:
            return render_vector(vector[""])
        return {name: render_vector(value) for name, value in vector.items()}
    return vector


def render_record(record: edge.Record) -> dict[str, Any]:
    """A point as scroll and retrieve show it; what was not asked for is left out."""
    shown: dict[str, Any] = {"id": render_id(record.id)}
    if record.payload is not None:
        shown["payload"] = record.payload
    if record.vector is not None:
        shown["vector"] = render_vector(record.vector)
    if record.order_value is not None:
        shown["order_value"] = record.order_value
    return shown


def render_scored(point: edge.ScoredPoint, *, scored: bool) -> dict[str, Any]:
    """A point as search and query show it. Without a score Qdrant 1.15 shows 0; the engine gives 1."""
    score = point.score if scored else 0.0
    shown: dict[str, Any] = {"id": render_id(point.id), "version": point.version, "score": score}
    if point.payload is not None:
        shown["payload"] = point.payload
    if point.vector is not None:
        shown["vector"] = render_vector(point.vector)
    if point.order_value is not None:
        shown["order_value"] = point.order_value
    return shown
