"""The routes: which call goes to which handler, and what the server says of itself."""

from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edge_server import TITLE, VERSION, handlers
from edge_server.calls import Call, Handler, Responder, unexpected
from edge_server.errors import MissingFeatureError, NotFoundError
from edge_server.metrics import Metrics
from edge_server.registry import Registry

_COLLECTION = "/collections/{name}"
_POINTS = _COLLECTION + "/points"
_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/collections", handlers.list_collections),
    ("GET", _COLLECTION, handlers.get_collection),
    ("PUT", _COLLECTION, handlers.create_collection),
    ("PATCH", _COLLECTION, handlers.update_collection),
    ("DELETE", _COLLECTION, handlers.delete_collection),
    ("GET", _COLLECTION + "/exists", handlers.collection_exists),
    ("PUT", _COLLECTION + "/index", handlers.create_index),
    ("DELETE", _COLLECTION + "/index/{field:path}", handlers.delete_index),
    ("PUT", _POINTS, handlers.upsert_points),
    ("POST", _POINTS, handlers.retrieve_points),
    ("POST", _POINTS + "/search", handlers.search_points),
    ("POST", _POINTS + "/query", handlers.query_points),
    ("POST", _POINTS + "/scroll", handlers.scroll_points),
    ("POST", _POINTS + "/count", handlers.count_points),
    ("POST", _POINTS + "/delete", handlers.delete_points),
    ("GET", _POINTS + "/{id}", handlers.get_point),
)
# First path segments of Qdrant's REST interface: what lies below them and is not served is "not implemented".
_QDRANT_ROOTS = frozenset(
    (
        "aliases",
        "cluster",
        "collections",
        "issues",
        "locks",
        "logger",
        "profiler",
        "quantization",
        "shards",
        "snapshots",
        "telemetry",
    )
)
_METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE"]


def make_app(registry: Registry) -> Starlette:
    """The server's ASGI application; loading the registry is the caller's."""
    metrics = Metrics(registry.opened)
    responder = Responder(registry, metrics)
    routes = [_plain("/", _identity), _plain("/healthz", _alive), _plain("/livez", _alive)]
    routes += [_plain("/readyz", _ready), _plain("/metrics", _metrics)]
    routes += [
        Route(path, responder.endpoint(path, handler), methods=[method]) for method, path, handler in _ROUTES
    ]
    rest = responder.endpoint("other", _not_served)
    routes.append(Route("/{path:path}", rest, methods=_METHODS))
    app = Starlette(routes=routes, exception_handlers={Exception: unexpected})
    app.state.registry, app.state.metrics = registry, metrics
    return app


def _plain(path: str, answer: Any) -> Route:
    return Route(path, answer, methods=["GET"])


async def _not_served(call: Call) -> Any:
    """501 for what Qdrant has, 404 for what nobody has."""
    path = call.request.url.path
    if path.strip("/").split("/")[0] in _QDRANT_ROOTS:
        raise MissingFeatureError("")
    raise NotFoundError(f"Not found: no such path: {path}")


async def _identity(request: Request) -> Response:
    """Never to be mistaken for the Qdrant server; the client parses major and minor out of the version."""
    body = {"title": TITLE, "version": VERSION, "commit": None}
    return Response(orjson.dumps(body), media_type="application/json")


async def _alive(request: Request) -> Response:
    return PlainTextResponse("healthz check passed")


async def _ready(request: Request) -> Response:
    if request.app.state.registry.ready:
        return PlainTextResponse("all shards are ready")
    return PlainTextResponse("some shards are not ready", status_code=503)


async def _metrics(request: Request) -> Response:
    return Response(request.app.state.metrics.render(), media_type="text/plain; version=0.0.4")
