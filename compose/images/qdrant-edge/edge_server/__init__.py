"""A REST server over the embedded Qdrant engine, for machines that cannot get the Qdrant server's image.

It answers the calls that `qdrant-client` 1.15 makes for the lab's targets, in the shapes that this client
parses. Everything else is refused by name (501), never ignored.

What shapes it: the engine's Python binding keeps the interpreter's global lock during every call (measured: a
spinning thread gets 0.1 % of its speed during `optimize()`), so threads buy nothing. Requests are served by
one event loop, long writes are cut into short engine calls with reads in between, and optimizing runs in a
process of its own on a copy (see `optimizer.py`).

Known debt: writes are in the write-ahead log in the page cache when acknowledged, so they survive the death
of the process and not, for up to `flush_interval_sec` of quiet or one log segment, the loss of power. A batch
larger than `collection.CHUNK_POINTS` is several log records: a kill before its acknowledgement may leave a
part of it, each point whole.
"""

ENGINE = "qdrant-edge"
ENGINE_VERSION = "0.9.0"
REST_DIALECT = "1.15.0"
"""The REST interface spoken here; `qdrant-client` compares its major and minor with its own version."""

TITLE = f"{ENGINE} {ENGINE_VERSION}, embedded"
VERSION = f"{REST_DIALECT}-edge.{ENGINE_VERSION}"
