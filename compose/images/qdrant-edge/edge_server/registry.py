"""The collections of this server: load at start, create, find, delete."""

import asyncio
from pathlib import Path

from edge_server import storage
from edge_server.collection import Collection
from edge_server.collection_config import parse_create
from edge_server.errors import (
    ApiError,
    ConflictError,
    EngineError,
    NotReadyError,
    OutOfBoundsError,
    collection_not_found,
)
from edge_server.log import log_error

_FORBIDDEN = frozenset('<>:"/\\|?*\0\x1f')
_NAME_BYTES_MAX = 255
_FLUSH_CHECK_S = 1.0


class Registry:
    """All collections below one storage folder; `ready` once they are loaded."""

    def __init__(self, folder: Path) -> None:
        self.ready = False
        self._folder = folder
        self._collections: dict[str, Collection] = {}
        self._naming = asyncio.Lock()

    async def load(self) -> None:
        """Open every collection, letting requests in between; raises ApiError or OSError."""
        root = self._folder / storage.COLLECTIONS
        root.mkdir(parents=True, exist_ok=True)
        storage.remove_tree(self._folder / storage.TRASH)
        for folder in sorted(root.iterdir()):
            await asyncio.sleep(0)
            if not (folder / storage.META).exists():
                # A kill came between making the folder and acknowledging the collection.
                storage.remove_tree(folder)
                continue
            self._collections[folder.name] = _load(folder)
        self.ready = True

    def names(self) -> list[str]:
        """The names of all collections."""
        self._require_ready()
        return sorted(self._collections)

    def get(self, name: str) -> Collection:
        """A collection by name; 404 where there is none."""
        self._require_ready()
        if name not in self._collections:
            raise collection_not_found(name)
        return self._collections[name]

    def has(self, name: str) -> bool:
        """Whether a collection of this name exists."""
        self._require_ready()
        return name in self._collections

    def opened(self) -> list[Collection]:
        """The collections loaded so far, ready or not; for metrics."""
        return list(self._collections.values())

    async def create(self, name: str, body: object) -> None:
        """Make a collection; it survives a kill once this returns."""
        self._require_ready()
        _check_name(name)
        async with self._naming:
            if name in self._collections:
                raise ConflictError(f"Wrong input: Collection `{name}` already exists!")
            config = parse_create(body)
            if storage.free_bytes(self._folder) < storage.FREE_BYTES_MIN:
                raise EngineError(
                    "Service internal error: No space left on device: no room for a new collection"
                )
            folder = self._folder / storage.COLLECTIONS / name
            try:
                self._collections[name] = await Collection.create(folder, config)
            except (ApiError, OSError):
                storage.remove_tree(folder)
                raise

    async def delete(self, name: str) -> bool:
        """Delete a collection for good; False where there is none."""
        self._require_ready()
        async with self._naming:
            collection = self._collections.pop(name, None)
            if collection is None:
                return False
            await collection.stop()
            # One rename: from here on a restart does not find it, whatever else happens.
            trash = storage.to_trash(self._folder / storage.COLLECTIONS / name, self._folder)
            collection.close()
        await asyncio.to_thread(storage.remove_tree, trash)
        return True

    async def flush_forever(self) -> None:
        """Flush collections when they are due, until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_CHECK_S)
            for collection in self.opened():
                try:
                    await collection.flush_if_due()
                except (ApiError, OSError) as error:
                    log_error(f"flush of collection {collection.name}: {error}")

    async def close(self) -> None:
        """Flush and close every collection."""
        self.ready = False
        for collection in self.opened():
            await collection.stop()
            collection.close()
        self._collections.clear()

    def _require_ready(self) -> None:
        if not self.ready:
            raise NotReadyError("Service unavailable: collections are still being loaded")


def _load(folder: Path) -> Collection:
    try:
        return Collection.load(folder)
    except (ApiError, OSError, ValueError, KeyError) as error:
        raise EngineError(
            f"collection in {folder} cannot be loaded: {error!r}; move the folder away to start without it"
        ) from error


def _check_name(name: str) -> None:
    """The rules of Qdrant's collection names, which are also folder names."""
    if name in ("", ".", "..") or len(name.encode()) > _NAME_BYTES_MAX or _FORBIDDEN & set(name):
        raise OutOfBoundsError(
            f"Validation error in path parameters: [name: `{name}` is not a valid collection name]"
        )
