"""One collection: an engine shard, its configuration, and the rules for writing to it.

All methods run on the event loop's thread, so a call into the engine is never interleaved with another. Only
writes take the lock: a batch is applied in several engine calls, and another write between them could leave a
mixture of both.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import qdrant_edge as edge

from edge_server import storage
from edge_server.collection_config import Config, apply_update, engine_config
from edge_server.debt import Debt, index_shape, over_threshold
from edge_server.errors import EngineError, NotFoundError, collection_not_found, engine_call
from edge_server.field_index import PayloadIndexes, render_schema
from edge_server.log import log_error
from edge_server.optimizer import optimize
from edge_server.vectors import VectorSchema

CHUNK_POINTS = 128
"""Points per engine call: about 4 ms at 384 dimensions, which is what a read may have to wait for a write."""

_FLUSH_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class _AtCopy:
    """What held when the optimizer's copy was made."""

    config: Config
    upserts: int
    deletes: int


class Collection:
    """A collection in use. Make one with `create` or `load`."""

    def __init__(
        self, folder: Path, config: Config, shard: edge.EdgeShard, shard_folder: Path, debt: Debt
    ) -> None:
        self.name = folder.name
        self.config = config
        self.schema = VectorSchema.of(config)
        self.lock = asyncio.Lock()
        self.shard = shard
        self.missed: list[edge.UpdateOperation] | None = None
        self.optimizing = False
        self._folder = folder
        self._shard_folder = shard_folder
        self._debt = debt
        self._at_copy = _AtCopy(config, 0, 0)
        self._open = True
        self._optimizer_error: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._unflushed_bytes = 0
        self._written_at = monotonic()

    @classmethod
    async def create(cls, folder: Path, config: Config) -> "Collection":
        """Make a new collection in a folder that is not there yet; complete once its metadata is written."""
        shard_folder = folder / f"gen-{uuid4().hex}"
        shard_folder.mkdir(parents=True)
        shard = engine_call(lambda: edge.EdgeShard.create(str(shard_folder), engine_config(config)))
        collection = cls(folder, config, shard, shard_folder, Debt())
        await collection._save(config, shard_folder, collection._debt)
        return collection

    @classmethod
    def load(cls, folder: Path) -> "Collection":
        """Open a collection; what a killed optimizer left behind is removed."""
        meta = storage.read_json(folder / storage.META)
        shard_folder = folder / meta["generation"]
        for other in folder.glob("gen-*"):
            if other != shard_folder:
                storage.remove_tree(other)
        shard = engine_call(lambda: edge.EdgeShard.load(str(shard_folder), engine_config(meta["config"])))
        debt = Debt(meta["indexed_points"], meta["built_with"])
        return cls(folder, meta["config"], shard, shard_folder, debt)

    def begin_copy(self) -> None:
        """From here on, keep every write for the copy too; the optimizer calls it, holding the lock."""
        self.missed = []
        self._at_copy = _AtCopy(self.config, self._debt.upserts, self._debt.deletes)

    @property
    def shard_folder(self) -> Path:
        """Where the shard in use keeps its files."""
        return self._shard_folder

    async def write(
        self, operations: Sequence[edge.UpdateOperation], *, upserts: int = 0, size_bytes: int = 0
    ) -> None:
        """Apply engine operations in order, letting reads in between; on return they survive a kill.

        `size_bytes` is about what they add to the write-ahead log.
        """
        async with self.lock:
            self.require_open()
            self._require_room()
            self._unflushed_bytes += max(size_bytes, 1)
            self._written_at = monotonic()
            for operation in operations:
                before = self.shard.info().points_count
                if self.missed is not None:
                    self.missed.append(operation)
                engine_call(lambda op=operation: self.shard.update(op))  # type: ignore[misc]
                self._debt.deletes += max(0, before - self.shard.info().points_count)
                await asyncio.sleep(0)
            self._debt.upserts += upserts
        self._optimize_if_due()

    async def update_config(self, body: object) -> None:
        """Change what an update request names; durable on return. The optimizer rebuilds what was indexed."""
        async with self.lock:
            self.require_open()
            config = apply_update(self.config, body)
            await self._save(config, self._shard_folder, self._debt)
            self.config = config
        self._debt.tried_at = 0
        self._optimize_if_due()

    def stored_vector(self, point_id: int | str, name: str) -> Any:
        """A point's vector by vector name, for queries that start from a point."""
        if name not in self.schema.dense and name not in self.schema.sparse:
            raise NotFoundError(f"Not found: Not existing vector name error: {name}")
        records = engine_call(lambda: self.shard.retrieve([point_id], with_payload=False, with_vector=[name]))
        vector = records[0].vector if records else None
        if vector is None or (isinstance(vector, dict) and name not in vector):
            raise NotFoundError(f"Not found: No point with id {point_id} found")
        return vector[name] if isinstance(vector, dict) else vector

    def indexes(self) -> PayloadIndexes:
        """The payload indexes as they are now."""
        return PayloadIndexes.of(engine_call(self.shard.info))

    def info(self) -> dict[str, Any]:
        """The result of `GET /collections/{c}`."""
        info = engine_call(self.shard.info)
        return {
            "status": self.status(),
            "optimizer_status": {"error": self._optimizer_error} if self._optimizer_error else "ok",
            "indexed_vectors_count": info.indexed_vectors_count,
            "points_count": info.points_count,
            "segments_count": info.segments_count,
            "config": self.config,
            "payload_schema": render_schema(info.payload_schema),
        }

    def status(self) -> str:
        """red: the optimizer failed; yellow: it runs; grey: it should, untriggered; green: nothing to do."""
        if self._optimizer_error:
            return "red"
        if self.optimizing:
            return "yellow"
        return "grey" if self._due() else "green"

    async def flush_if_due(self) -> None:
        """Flush after the configured seconds of quiet, or when the log has grown by one segment.

        The engine's flush stops the whole server, so the bulk is synced first, without it.
        """
        quiet_s = monotonic() - self._written_at
        interval_s = self.config["optimizer_config"]["flush_interval_sec"]
        if not self._unflushed_bytes or (quiet_s < interval_s and self._unflushed_bytes < _FLUSH_BYTES):
            return
        await asyncio.to_thread(storage.sync_tree, self._shard_folder)
        # Under the lock: a copy made during a flush could miss points that the log no longer holds.
        async with self.lock:
            if self._open:
                self._unflushed_bytes = 0
                engine_call(self.shard.flush)

    async def stop(self) -> None:
        """Refuse further writes and stop the optimizer; what holds the lock now is waited for.

        The optimizer is cancelled under the lock, so never within a changeover.
        """
        self._open = False
        async with self.lock:
            if self._task is not None:
                self._task.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])

    def close(self) -> None:
        """Flush and close the shard, after `stop`."""
        self.shard.close()

    def require_open(self) -> None:
        """404 once the collection has been deleted."""
        if not self._open:
            raise collection_not_found(self.name)

    async def change_over(self, folder: Path, points: int) -> None:
        """Run on the optimized copy from now on; the optimizer calls it, holding the lock."""
        self.require_open()
        shard = engine_call(lambda: edge.EdgeShard.load(str(folder), engine_config(self.config)))
        missed = self.missed or []
        for operation in missed:
            engine_call(lambda op=operation: shard.update(op))  # type: ignore[misc]
            await asyncio.sleep(0)
        built = self._at_copy
        indexed = over_threshold(points, built.config)
        debt = Debt(points if indexed else 0, index_shape(built.config) if indexed else None)
        debt.upserts = self._debt.upserts - built.upserts
        debt.deletes = self._debt.deletes - built.deletes
        await self._commit(folder, debt)
        old_shard, old_folder = self.shard, self._shard_folder
        self.shard, self._shard_folder, self._debt = shard, folder, debt
        old_shard.close()
        await asyncio.to_thread(storage.remove_tree, old_folder)

    async def _commit(self, folder: Path, debt: Debt) -> None:
        """Put another shard in charge on disk, or leave the present one so."""
        try:
            await self._save(self.config, folder, debt)
        except OSError:
            await self._save(self.config, self._shard_folder, self._debt)
            raise

    def _due(self) -> str | None:
        return self._debt.reason(self.shard.info().points_count, self.config)

    def _optimize_if_due(self) -> None:
        """Start the optimizer where it is needed; as in Qdrant, nothing but an update triggers it."""
        allowed = self.config["optimizer_config"]["max_optimization_threads"] != 0
        if self._open and allowed and not self.optimizing and self._due():
            self.optimizing = True
            self._task = asyncio.create_task(self._optimize())

    async def _optimize(self) -> None:
        """One optimizer run; a failure shows as status red and on standard error."""
        target = self._folder / f"gen-{uuid4().hex}"
        try:
            if not await optimize(self, target):
                self._debt.tried_in_vain(self._at_copy.config)
            self._optimizer_error = None
        except (EngineError, NotFoundError, OSError, TimeoutError) as error:
            self._debt.tried_in_vain(self._at_copy.config)
            self._optimizer_error = str(error)
            log_error(f"optimizer of collection {self.name}: {error}")
        finally:
            self.optimizing = False
            if self._shard_folder != target:
                await asyncio.to_thread(storage.remove_tree, target)
        self._optimize_if_due()

    def _require_room(self) -> None:
        free = storage.free_bytes(self._folder)
        if free < storage.FREE_BYTES_MIN:
            raise EngineError(
                "Service internal error: No space left on device: WAL buffer size exceeds available disk "
                f"space ({free} bytes free, {storage.FREE_BYTES_MIN} needed)"
            )

    async def _save(self, config: Config, shard_folder: Path, debt: Debt) -> None:
        meta = {
            "config": config,
            "generation": shard_folder.name,
            "indexed_points": debt.indexed_points,
            "built_with": debt.built_with,
        }
        await asyncio.to_thread(storage.write_json, self._folder / storage.META, meta)
