"""Run the server: `python -m edge_server`, configured as Qdrant's image is, by options or environment.

    QDRANT__SERVICE__HOST, QDRANT__SERVICE__HTTP_PORT, QDRANT__STORAGE__STORAGE_PATH

Exit code 0 after SIGTERM or SIGINT, 1 when a collection cannot be loaded or the port is taken, 2 for bad
options.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import uvicorn

from edge_server.app import make_app
from edge_server.errors import ApiError
from edge_server.log import log_error
from edge_server.registry import Registry

_PREFIX = "QDRANT__"
_HOST, _PORT, _STORAGE = (
    f"{_PREFIX}SERVICE__HOST",
    f"{_PREFIX}SERVICE__HTTP_PORT",
    f"{_PREFIX}STORAGE__STORAGE_PATH",
)
_WITHOUT_EFFECT = {f"{_PREFIX}TELEMETRY_DISABLED", f"{_PREFIX}LOG_LEVEL", f"{_PREFIX}SERVICE__GRPC_PORT"}
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a container; the lab publishes on 127.0.0.1 only
_KEEP_ALIVE_S = (
    75  # longer than the client keeps idle connections (5 s), so that it never reuses one that is closing
)
_GRACE_S = 3


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    _refuse_unknown_environment()
    options = _options()
    registry = Registry(options.storage)
    config = uvicorn.Config(
        make_app(registry),
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    _stop_on_signals(server)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        return runner.run(_serve(server, registry))


def _stop_on_signals(server: uvicorn.Server) -> None:
    """Uvicorn raises a caught signal again once it has stopped; by default that would leave shards open."""

    def stop(signum: int, frame: object) -> None:
        server.should_exit = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


async def _serve(server: uvicorn.Server, registry: Registry) -> int:
    """Answer at once, load meanwhile; end when either fails."""
    loading = asyncio.create_task(_load(server, registry))
    flushing = asyncio.create_task(registry.flush_forever())
    await server.serve()
    flushing.cancel()
    loaded = await loading
    await registry.close()
    return 0 if loaded and server.started else 1


async def _load(server: uvicorn.Server, registry: Registry) -> bool:
    try:
        await registry.load()
    except (ApiError, OSError) as error:
        log_error(str(error))
        server.should_exit = True
        return False
    return True


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="edge_server", description="Qdrant's embedded engine behind its REST interface."
    )
    parser.add_argument("--host", default=os.environ.get(_HOST, _EVERYWHERE))
    parser.add_argument("--port", type=int, default=os.environ.get(_PORT, "6333"))
    parser.add_argument("--storage", type=Path, default=os.environ.get(_STORAGE, "/qdrant/storage"))
    return parser.parse_args()


def _refuse_unknown_environment() -> None:
    """A setting that would be silently without effect (an API key!) must not be believed to work."""
    unknown = {k for k in os.environ if k.startswith(_PREFIX)} - _WITHOUT_EFFECT - {_HOST, _PORT, _STORAGE}
    if unknown:
        print(
            f"edge_server: not implemented: {', '.join(sorted(unknown))}; unset to start without",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    sys.exit(main())
