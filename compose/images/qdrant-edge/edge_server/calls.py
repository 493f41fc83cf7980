"""One REST call: what a handler is given, and how its outcome becomes a response.

Results are wrapped as Qdrant does: `{"result": …, "status": "ok", "time": seconds}`, or `{"status": {"error":
…}, "time": …}`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from edge_server import ENGINE
from edge_server.collection import Collection
from edge_server.errors import ApiError, BadRequestError, MissingFeatureError, TooLargeError
from edge_server.log import log_error
from edge_server.metrics import Metrics
from edge_server.registry import Registry

BODY_BYTES_MAX = 32 * 2**20
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a handler: the collections, the path's parts and the parsed body."""

    registry: Registry
    request: Request
    raw: bytes

    @property
    def name(self) -> str:
        """The collection's name from the path."""
        return str(self.request.path_params["name"])

    @property
    def collection(self) -> Collection:
        """The collection that the path names; 404 where there is none."""
        return self.registry.get(self.name)

    def body(self) -> Any:
        """The JSON body."""
        try:
            return orjson.loads(self.raw)
        except orjson.JSONDecodeError as error:
            raise BadRequestError(f"Format error in JSON body: {error}") from error

    def parameters(self, *allowed: str) -> dict[str, str]:
        """The query parameters; 400 for any but the allowed ones."""
        given = dict(self.request.query_params)
        unknown = sorted(set(given) - set(allowed))
        if unknown:
            raise BadRequestError(
                f"Format error in query parameters: unknown {unknown}, known: {sorted(allowed)}"
            )
        return given


Handler = Callable[[Call], Awaitable[Any]]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Responder:
    """Turns handlers into endpoints that answer in Qdrant's form and are counted."""

    registry: Registry
    metrics: Metrics

    def endpoint(self, pattern: str, handler: Handler) -> Endpoint:
        """An endpoint for a handler; `pattern` is its route, for the metrics."""

        async def respond(request: Request) -> Response:
            started = perf_counter()
            status = 500
            try:
                body = {
                    "result": await handler(Call(self.registry, request, await _read(request))),
                    "status": "ok",
                }
                status = 200
            except ApiError as error:
                status = error.status
                body = {"status": {"error": _explain(error, request)}}
                if status == 500:
                    log_error(f"{request.method} {request.url.path}: {error.message}")
            finally:
                seconds = perf_counter() - started
                self.metrics.observe(request.method, pattern, status, seconds)
            return Response(orjson.dumps(body | {"time": seconds}), status, media_type=_JSON)

        return respond


async def unexpected(request: Request, error: Exception) -> Response:
    """The answer to a defect of this server; logged in one line."""
    log_error(f"{request.method} {request.url.path}: {error!r}")
    body = {"status": {"error": f"Service internal error: {error!r}"}, "time": 0.0}
    return Response(orjson.dumps(body), 500, media_type=_JSON)


async def _read(request: Request) -> bytes:
    """The body, unless it is too large."""
    announced = int(request.headers.get("content-length", "0"))
    raw = await request.body() if announced <= BODY_BYTES_MAX else b""
    if max(announced, len(raw)) > BODY_BYTES_MAX:
        raise TooLargeError(
            f"JSON payload ({max(announced, len(raw))} bytes) exceeds the limit ({BODY_BYTES_MAX} bytes)."
        )
    return raw


def _explain(error: ApiError, request: Request) -> str:
    """The message; what is not implemented names the call and the server."""
    if not isinstance(error, MissingFeatureError):
        return error.message
    detail = f": {error.message}" if error.message else ""
    return f"Not implemented by {ENGINE} server: {request.method} {request.url.path}{detail}"
