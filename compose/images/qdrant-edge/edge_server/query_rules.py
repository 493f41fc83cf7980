"""Rules of Qdrant's query call that its server applies before the engine sees the query."""

from typing import Any

import qdrant_edge as edge

from edge_server.errors import wrong_input
from edge_server.point_ids import parse_id


def check_combination(query: Any, prefetches: Any, using: str, score_threshold: Any) -> None:
    """400 for what does not go together; the same for a query and for a prefetch."""
    if prefetches and query is None:
        raise wrong_input(
            "A query is needed to merge the prefetches. Can't have prefetches without defining a query."
        )
    if score_threshold is not None and query is None:
        raise wrong_input(
            "A query is needed to use the score_threshold. Can't have score_threshold without defining a query."
        )
    if score_threshold is not None and isinstance(query, edge.OrderBy):
        raise wrong_input("Can't use score_threshold with an order_by query.")
    if isinstance(query, edge.Fusion) and using:
        raise wrong_input("Fusion queries cannot be combined with the 'using' field.")
    if isinstance(query, edge.Fusion) and not prefetches:
        raise wrong_input("cannot apply Fusion without prefetches")


def has_scores(request: edge.QueryRequest) -> bool:
    """Whether the points of a request are ranked by a score.

    They are not where nothing is asked, where the order is that of a payload field, and in a random sample.
    """
    return request.query is not None and not isinstance(request.query, edge.OrderBy | edge.Sample)


def without_seeds(body: Any, wanted: edge.Filter | None) -> edge.Filter | None:
    """The filter, without the points that the query or any of its prefetches starts from.

    `body` is a valid request. The engine applies this filter to every prefetch.
    """
    seeds = _seed_ids(body)
    if not seeds:
        return wanted
    return edge.Filter(must=[wanted] if wanted else None, must_not=[edge.HasIdCondition(seeds)])


def _seed_ids(body: Any) -> set[int | str]:
    query, prefetch = body.get("query"), body.get("prefetch") or []
    if isinstance(query, dict):
        query = query.get("nearest")
    seeds = {parse_id(query)} if isinstance(query, int | str) else set()
    for inner in prefetch if isinstance(prefetch, list) else [prefetch]:
        seeds |= _seed_ids(inner)
    return seeds
