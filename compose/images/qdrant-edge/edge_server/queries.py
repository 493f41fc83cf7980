"""Read requests (search, query, scroll, retrieve, count), translated into the engine's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qdrant_edge as edge

from edge_server.errors import MissingFeatureError, bad_format, engine_call, wrong_input
from edge_server.field_index import PayloadIndexes
from edge_server.fields import MISSING, Fields
from edge_server.filters import parse_filter
from edge_server.point_ids import parse_id
from edge_server.query_rules import check_combination, without_seeds
from edge_server.vectors import VectorSchema, parse_vector

_DEFAULT_LIMIT = 10
# The rank constant of reciprocal rank fusion that Qdrant uses unless told otherwise.
_RRF_K = 2
_LATER_QUERIES = (
    "recommend",
    "discover",
    "context",
    "formula",
    "relevance_feedback",
    "text",
    "image",
    "object",
)

StoredVector = Callable[[int | str, str], Any]
"""Looks up a point's vector by point id and vector name; raises ApiError where there is none."""


@dataclass(frozen=True, slots=True)
class QueryContext:
    """What translating a query needs to know of the collection."""

    schema: VectorSchema
    stored_vector: StoredVector
    indexes: PayloadIndexes


def parse_search(body: object, context: QueryContext) -> edge.QueryRequest:
    """`POST points/search`: the older form, one vector, dense or sparse, named or not."""
    fields = Fields(body, "body")
    name, vector = _named_vector(fields.take("vector", MISSING), context.schema)
    options = _result_options(fields)
    options["filter"] = parse_filter(fields.take("filter"), "body.filter", context.indexes)
    options["limit"] = fields.integer("limit", MISSING, minimum=1)
    fields.refuse("shard_key")
    fields.done()
    return edge.QueryRequest(query=edge.Query.Nearest(vector, using=name), **options)


def parse_query(body: object, context: QueryContext) -> edge.QueryRequest:
    """`POST points/query`: nearest, fusion of prefetches, order by payload, random sample, or by id."""
    fields = Fields(body, "body")
    options = _result_options(fields) | _scoring_options(fields, context)
    fields.refuse("shard_key")
    fields.done()
    options["filter"] = without_seeds(body, options["filter"])
    if isinstance(options["query"], edge.Sample) and not options["prefetches"]:
        # As in Qdrant: there is no order to skip in.
        options["offset"] = 0
    return engine_call(lambda: edge.QueryRequest(**options))


def _prefetches(value: object, where: str, context: QueryContext) -> list[edge.Prefetch]:
    items = value if isinstance(value, list) else [value]
    return [_prefetch(item, f"{where}[{number}]", context) for number, item in enumerate(items)]


def _prefetch(body: object, where: str, context: QueryContext) -> edge.Prefetch:
    fields = Fields(body, where)
    options = _search_options(fields) | _scoring_options(fields, context)
    fields.done()
    return engine_call(lambda: edge.Prefetch(**options))


def _scoring_options(fields: Fields, context: QueryContext) -> dict[str, Any]:
    """What a query and a prefetch have in common: prefetches below, the query itself, and the limit."""
    fields.refuse("lookup_from")
    prefetch = fields.take("prefetch")
    prefetches = _prefetches(prefetch, fields.path("prefetch"), context) if prefetch else None
    using = fields.text("using", "")
    raw = fields.take("query")
    options: dict[str, Any] = {
        "prefetches": prefetches,
        "limit": fields.integer("limit", _DEFAULT_LIMIT, minimum=1),
        "query": _query(raw, using, fields.path("query"), context) if raw is not None else None,
    }
    check_combination(options["query"], prefetches, using, fields.number("score_threshold"))
    options["filter"] = parse_filter(fields.take("filter"), fields.path("filter"), context.indexes)
    return options


def _query(raw: Any, using: str, where: str, context: QueryContext) -> Any:
    """The engine's query object for any of Qdrant's forms of `query`."""
    if not isinstance(raw, dict) or "indices" in raw:
        return _nearest(raw, using, where, context)
    fields = Fields(raw, where)
    for kind, parse in _QUERIES.items():
        if fields.has(kind):
            fields.refuse("mmr")
            query = parse(fields, kind, using, context)
            fields.done()
            return query
    for kind in _LATER_QUERIES:
        if fields.has(kind):
            raise MissingFeatureError(f"field `{fields.path(kind)}`")
    raise bad_format(where, f"no known query; expected a vector, a point id or one of {sorted(_QUERIES)}")


def _nearest(raw: Any, using: str, where: str, context: QueryContext) -> Any:
    if isinstance(raw, int | str):
        vector = context.stored_vector(parse_id(raw), using)
    else:
        vector = parse_vector(raw, using, context.schema, where)
    return engine_call(lambda: edge.Query.Nearest(vector, using=using))


def _nearest_object(fields: Fields, kind: str, using: str, context: QueryContext) -> Any:
    return _nearest(fields.take(kind), using, fields.path(kind), context)


def _fusion(fields: Fields, kind: str, using: str, context: QueryContext) -> Any:
    name = fields.choice(kind, {"rrf": "rrf", "dbsf": "dbsf"})
    return edge.Fusion.Rrf(_RRF_K) if name == "rrf" else edge.Fusion.Dbsf()


def _weighted_rrf(fields: Fields, kind: str, using: str, context: QueryContext) -> Any:
    rrf = Fields(fields.take(kind), fields.path(kind))
    k, weights = rrf.integer("k", _RRF_K, minimum=1), rrf.items("weights")
    rrf.done()
    return engine_call(lambda: edge.Fusion.Rrf(k, weights=weights))


def _order_by_query(fields: Fields, kind: str, using: str, context: QueryContext) -> edge.OrderBy:
    return parse_order_by(fields.take(kind), fields.path(kind))


def _sample(fields: Fields, kind: str, using: str, context: QueryContext) -> Any:
    return fields.choice(kind, {"random": edge.Sample.Random})


_QUERIES: dict[str, Callable[[Fields, str, str, QueryContext], Any]] = {
    "nearest": _nearest_object,
    "fusion": _fusion,
    "rrf": _weighted_rrf,
    "order_by": _order_by_query,
    "sample": _sample,
}


def parse_order_by(value: object, where: str) -> edge.OrderBy:
    """A payload key, or a key with direction and start."""
    if isinstance(value, str):
        return engine_call(lambda: edge.OrderBy(value))
    fields = Fields(value, where)
    key = fields.text("key", MISSING)
    direction = fields.choice("direction", {"asc": edge.Direction.Asc, "desc": edge.Direction.Desc})
    start = fields.take("start_from")
    fields.done()
    return engine_call(lambda: edge.OrderBy(key, direction, start))


def parse_scroll(body: object, indexes: PayloadIndexes) -> edge.ScrollRequest:
    """`POST points/scroll`; the payload is shown unless declined."""
    fields = Fields(body, "body")
    offset, order_by = fields.take("offset"), fields.take("order_by")
    if offset is not None and order_by is not None:
        raise wrong_input(
            "Cannot use an `offset` when using `order_by`. "
            "The alternative for paging is to use `order_by.start_from`"
        )
    options = {
        "offset": parse_id(offset) if offset is not None else None,
        "limit": fields.integer("limit", _DEFAULT_LIMIT, minimum=1),
        "order_by": parse_order_by(order_by, "body.order_by") if order_by is not None else None,
        "filter": parse_filter(fields.take("filter"), "body.filter", indexes),
        **_shown(fields, payload_by_default=True),
    }
    fields.refuse("shard_key")
    fields.done()
    return engine_call(lambda: edge.ScrollRequest(**options))


def parse_count(body: object, indexes: PayloadIndexes) -> edge.CountRequest:
    """`POST points/count`."""
    fields = Fields(body, "body")
    wanted = parse_filter(fields.take("filter"), "body.filter", indexes)
    exact = fields.flag("exact", default=True)
    fields.refuse("shard_key")
    fields.done()
    return edge.CountRequest(exact=exact, filter=wanted)


def parse_retrieve(body: object) -> tuple[list[int | str], dict[str, Any]]:
    """`POST points`: the ids and what to show of them."""
    fields = Fields(body, "body")
    ids = [parse_id(item) for item in fields.items("ids", MISSING)]
    shown = _shown(fields, payload_by_default=True)
    fields.refuse("shard_key")
    fields.done()
    return ids, shown


def _search_options(fields: Fields) -> dict[str, Any]:
    return {
        "params": _params(fields.take("params"), fields.path("params")),
        "score_threshold": fields.number("score_threshold"),
    }


def _result_options(fields: Fields) -> dict[str, Any]:
    """What search and query have in common beside the query itself."""
    options = _search_options(fields) | _shown(fields, payload_by_default=False)
    options["offset"] = fields.integer("offset", 0)
    return options


def _shown(fields: Fields, *, payload_by_default: bool) -> dict[str, Any]:
    """Which parts of a point to show. The client sends `with_vector`, the documentation says so too."""
    with_vector = fields.take("with_vector", default=False)
    if not isinstance(with_vector, bool | list):
        raise bad_format(fields.path("with_vector"), "expected a boolean or an array of vector names")
    return {
        "with_payload": _payload_selector(
            fields.take("with_payload", payload_by_default), fields.path("with_payload")
        ),
        "with_vector": with_vector,
    }


def _payload_selector(value: Any, where: str) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        return engine_call(lambda: edge.PayloadSelector.Include(value))
    fields = Fields(value, where)
    include, exclude = fields.items("include"), fields.items("exclude")
    fields.done()
    if (include is None) == (exclude is None):
        raise bad_format(where, "expected exactly one of `include` and `exclude`")
    if include is not None:
        return engine_call(lambda: edge.PayloadSelector.Include(include))
    return engine_call(lambda: edge.PayloadSelector.Exclude(exclude))


def _params(body: object, where: str) -> edge.SearchParams | None:
    if body is None:
        return None
    fields = Fields(body, where)
    options = {
        "hnsw_ef": fields.integer("hnsw_ef"),
        "exact": fields.flag("exact", default=False),
        "indexed_only": fields.flag("indexed_only", default=False),
    }
    fields.refuse("quantization", "acorn")
    fields.done()
    return edge.SearchParams(**options)


def _named_vector(value: Any, schema: VectorSchema) -> tuple[str, Any]:
    """The vector name and vector of the older search call."""
    if not isinstance(value, dict):
        return "", parse_vector(value, "", schema, "body.vector")
    fields = Fields(value, "body.vector")
    name, vector = fields.text("name", MISSING), fields.take("vector", MISSING)
    fields.done()
    return name, parse_vector(vector, name, schema, "body.vector.vector")
